"""The five ways to make one ranking of several members' scores.

rank      mean of the ranks within a graph; weights chosen on valid and moved toward equal
borda     mean of the ranks within a graph, equal weights: a Borda count in which every seed of a member is a voter
minmax    mean of the scores, brought to [0, 1] within a graph; equal weights
zscore    mean of the scores, brought to mean 0 and standard deviation 1 within a graph; equal weights
single    the one member that is best on valid

The first four can be the blend. The fifth is there to compare with.
"""

#: rule -> the scale, as `scores.together` names it, to which the members' scores are brought before their mean
SCALES = {"rank": "rank", "borda": "rank", "minmax": "minmax", "zscore": "zscore", "single": "rank"}
#: rules that params.yaml, blend.rule may name
RULES = ("rank", "borda", "minmax", "zscore")
