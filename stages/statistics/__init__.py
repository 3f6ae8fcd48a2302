"""Statistics of configurations: named columns for the trees and the baselines.

`columns` computes them for configurations of one packed graph and says what each of them measures.
"""
