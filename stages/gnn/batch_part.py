"""What one segment of a graph, with a sample of the configurations, adds to a batch: numbered within itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from stages.gnn import mapped_files, memory, states
from stages.gnn.prepared_graph import PreparedGraph, SegmentInputs, find_states, segment_inputs


@dataclass(frozen=True, eq=False)
class LayerPart:
    """What a unit adds to a `Layer`; s states of m nodes, k configurations.

    messages (s, kinds * below): column state below * kinds + kind; own, node, count (s,): as in `Layer`, numbered
    within the unit; nodes: m; below: states of the level below; sampled: configurations of the sample; configuration
    (s,): that of a state where nothing is shared, else None; k: configurations of each unit of the batch, padded.
    """

    kinds: int
    messages: csr_array
    own: np.ndarray
    node: np.ndarray
    nodes: int
    below: int
    count: np.ndarray
    sampled: int
    configuration: np.ndarray | None
    k: int


@dataclass(frozen=True, eq=False)
class CopiesPart:
    """What a unit adds to `Copies`; s states of copies.

    ends (s, 2 * states of level 0): two ones a row, in column state * 2 + (0 for the consumer, 1 for the producer);
    columns (s, COPY_COLUMNS); copy (s,): number within the unit, below `number`; readout (k, s).
    """

    ends: csr_array
    columns: np.ndarray
    copy: np.ndarray
    number: int
    readout: csr_array


@dataclass(frozen=True, eq=False)
class BatchPart:
    """What a unit adds to a batch; s states of level 0.

    node (s,): the node of each among those of `inputs`; triple (s,): its index in `inputs.tokens`, -1 for none; columns
    (p, STATE_COLUMNS): of those with a triple; readout (k, last level's states), None for kernels; example (s,): its
    configuration where nothing is shared, else empty.
    """

    inputs: SegmentInputs
    node: np.ndarray
    triple: np.ndarray
    columns: np.ndarray
    layers: list[LayerPart]
    readout: csr_array | None
    copies: CopiesPart | None
    example: np.ndarray


def make(prepared: PreparedGraph, number: int, sample: np.ndarray, k: int, recurs: bool) -> BatchPart:
    """What one segment with a sample of configurations adds to a batch.

    Args:
        prepared: the graph.
        number: of the segment.
        sample: (up to k,) configurations.
        k: configurations of each unit of the batch.
        recurs: whether to keep the part where the next step's is the same.
    """
    tile = prepared.graph.config_nodes is None
    key = (prepared, "part", number, None if tile else k)
    recurs = recurs and prepared.keeps_states and (tile or is_all(prepared, sample))
    if recurs and (part := prepared.caches.batches.get(key)) is not None:
        return part
    if prepared.keeps_states:
        of, inputs = prepared.states(number), prepared.inputs(number)
        part = _made(prepared, number, of, inputs, sample, k)
    else:
        of = find_states(prepared, number, sample)
        inputs = segment_inputs(prepared.graph, of, prepared.view)
        part = _made(prepared, number, of, inputs, np.arange(len(sample)), k)
    mapped_files.release(of.code)
    if recurs:
        memory.keep(prepared.caches.batches, key, part)
    return part


def is_all(prepared: PreparedGraph, sample: np.ndarray) -> bool:
    """Whether a sample is all of a graph's configurations, in their order."""
    return len(sample) == prepared.graph.configurations and bool((np.diff(sample) > 0).all())


def _made(
    prepared: PreparedGraph, number: int, of: states.SegmentStates, inputs: SegmentInputs, sample: np.ndarray, k: int
) -> BatchPart:
    """The part of these states of a segment; sample: indices among the configurations that the states are of."""
    view, own = prepared.view, prepared.segments[number].own
    picked = states.pick(of.levels, sample)
    bottom, top = picked[0], picked[-1]
    triple = inputs.triple[bottom.states]
    levels = zip(picked[:-1], picked[1:], of.matrices, inputs.own, strict=True)
    return BatchPart(
        inputs=inputs,
        node=bottom.index,
        triple=triple,
        columns=of.columns[inputs.columns[bottom.states[triple >= 0]]],
        layers=[_layer_part(*level, view.relations, view.shared, len(sample), k) for level in levels],
        readout=None if prepared.graph.config_nodes is None else _readout(top, sample, k, own[top.level.nodes]),
        copies=_copies_part(of, bottom, sample, k) if view.copies else None,
        example=np.zeros(0, np.int64) if view.shared else bottom.example,
    )


def _layer_part(
    below: states.Picked,
    above: states.Picked,
    matrix: csr_array,
    own: np.ndarray,
    kinds: int,
    shared: bool,
    sampled: int,
    k: int,
) -> LayerPart:
    """The rows and columns of a level's messages that a sample touches.

    Args:
        below: what the sample picks of the level below.
        above: and of this one.
        matrix: (states, kinds * states below) messages to all states of the level.
        own: (states,) the state that each state's node had one level below.
        kinds: of messages.
        shared: whether states are shared.
        sampled: configurations of the sample.
        k: configurations of each unit of the batch.
    """
    rows = matrix.copy() if len(above.states) == matrix.shape[0] else matrix[above.states]
    column = (below.number[:, None] * kinds + np.arange(kinds)).reshape(-1)[rows.indices]
    shape = (len(above.states), kinds * len(below.states))
    return LayerPart(
        kinds=kinds,
        messages=csr_array((rows.data, column, rows.indptr), shape=shape),
        own=below.number[own[above.states]],
        node=above.index,
        nodes=len(above.level.nodes),
        below=len(below.states),
        count=above.count,
        sampled=sampled,
        configuration=None if shared else above.example,
        k=k,
    )


def _copies_part(of: states.SegmentStates, bottom: states.Picked, sample: np.ndarray, k: int) -> CopiesPart:
    picked = states.pick([of.copies], sample)[0]
    ends = 2 * bottom.number[of.copy_ends[picked.states]] + np.arange(2)
    pointer = 2 * np.arange(len(ends) + 1)
    shape = (len(ends), 2 * len(bottom.states))
    return CopiesPart(
        ends=csr_array((np.ones(ends.size, np.float32), ends.reshape(-1), pointer), shape=shape),
        columns=of.copy_columns[picked.states],
        copy=picked.index,
        number=len(of.copies.nodes),
        readout=_readout(picked, sample, k, np.ones(len(of.copies.nodes), bool)),
    )


def _readout(top: states.Picked, sample: np.ndarray, k: int, read: np.ndarray) -> csr_array:
    """(k, s): how often a state of the nodes that are read occurs in each configuration; empty rows pad to k."""
    occurring = states.occurrences(top, sample)
    occurring = occurring if read.all() else occurring[:, read]
    rows = np.concatenate([np.arange(len(sample) + 1), np.full(k - len(sample), len(sample))])
    ones = np.ones(occurring.size, np.float32)
    return csr_array((ones, occurring.ravel(), rows * occurring.shape[1]), shape=(k, len(top.states)))
