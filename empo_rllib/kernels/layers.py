"""Forward and backward through an actor and a critic, over one flat vector of parameters.

Tensors lie in the vector one after the other, weights as [in, out], in the order of
`Network.layers`: weight, bias, weight, bias... The first layer has rows for the
columns in use only.
Kernels take float32 or float64. Numbers that are not finite pass through them as through torch.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from empo_rllib.envs.compiled import compiled
from empo_rllib.kernels.network import Network
from empo_rllib.kernels.observations import Coded
from empo_rllib.rl_modules.actor_critic import FORBIDDEN

# Divisions by zero are numpy's infinities, as torch has them, and loops with divisions vectorise.
compiled_loop = functools.partial(compiled, error_model="numpy", nogil=True)

_FORBIDDEN = np.float32(FORBIDDEN)


class Shape(NamedTuple):
    """Sizes of the layers.

    Attributes:
        widths: of a stream's hidden layers, int64 [L].
        num_streams: 1 where actor and critic share the hidden layers, otherwise 2.
        num_columns: K, inputs of the first layer that are in use.
        num_logits: outputs of the actor.
        starts: where each tensor starts in the flat vector, and the end; int64 [T + 1].
    """

    widths: np.ndarray
    num_streams: int
    num_columns: int
    num_logits: int
    starts: np.ndarray


class Work(NamedTuple):
    """Arrays that forward fills and backward reads, for up to D observations.

    Attributes:
        hidden: [D * sum of widths of all streams], outputs of the hidden layers.
        slopes: the same for their gradients.
        inputs: [D, F], or [D, K] where the first layer is a matrix product over all columns.
        table: [S, R, H], what each content of a cell adds to the first layer's output.
        table_slopes: float64 [R, H], gradients of a stream's table.
        base: [1, H], a stream's first output where each cell holds its commonest content.
        seen: bool [R], whether each content occurs among the observations.
    """

    hidden: np.ndarray
    slopes: np.ndarray
    inputs: np.ndarray
    table: np.ndarray
    table_slopes: np.ndarray
    base: np.ndarray
    seen: np.ndarray


def shape_of(network: Network, num_columns: int) -> Shape:
    """Returns the sizes of a network whose first layer reads so many columns."""
    sizes = []
    for layer in network.layers:
        read = num_columns if layer in network.first_layers else layer.in_features
        sizes += [read * layer.out_features, layer.out_features]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    num_logits = network.actor.out_features
    return Shape(network.widths, len(network.streams), num_columns, num_logits, starts)


def allocate_work(shape: Shape, coded: Coded, num_rows: int, dtype: type) -> Work:
    """Returns arrays for minibatches of up to `num_rows` observations."""
    hidden = num_rows * shape.num_streams * int(shape.widths.sum())
    num_inputs = shape.num_columns if coded.dense else coded.numbers.shape[1]
    table = (shape.num_streams, len(coded.row_cell), int(shape.widths[0]))
    return Work(
        np.empty(hidden, dtype),
        np.empty(hidden, dtype),
        np.empty((num_rows, num_inputs), dtype),
        np.empty(table, dtype),
        np.empty(table[1:]),
        np.empty((1, table[2]), dtype),
        np.empty(table[1], np.bool_),
    )


@compiled_loop
def forward(
    parameters: np.ndarray,  # flat
    shape: Shape,
    coded: Coded,
    rows: np.ndarray,  # int64 [D], which observations
    work: Work,
    logits: np.ndarray,  # [D, K], written
    values: np.ndarray,  # [D, 1], written
) -> None:
    """Runs the network on some observations."""
    num_layers = len(shape.widths)
    gather_inputs(coded, rows, work.inputs)
    inputs = work.inputs[: len(rows)]
    for stream in range(shape.num_streams):
        first = stream * 2 * num_layers
        weight = matrix(parameters, shape, first, shape.num_columns, shape.widths[0])
        bias = vector(parameters, shape, first + 1)
        table, base = work.table[stream], work.base
        build_table(weight, bias, coded, table, base)
        hidden = layer_rows(work.hidden, shape, stream, 0, len(rows))
        if inputs.shape[1]:
            np.dot(inputs, weight[: inputs.shape[1]], hidden)
        else:
            hidden[:] = 0
        add_rows(coded, rows, table, base, hidden)
        for number in range(1, num_layers):
            below, width = hidden, shape.widths[number]
            hidden = layer_rows(work.hidden, shape, stream, number, len(rows))
            tensor = first + 2 * number
            weight = matrix(parameters, shape, tensor, shape.widths[number - 1], width)
            np.dot(below, weight, hidden)
            add_bias(vector(parameters, shape, tensor + 1), hidden, True)
    head = shape.num_streams * 2 * num_layers
    width = shape.widths[num_layers - 1]
    top = layer_rows(work.hidden, shape, 0, num_layers - 1, len(rows))
    np.dot(top, matrix(parameters, shape, head, width, shape.num_logits), logits)
    add_bias(vector(parameters, shape, head + 1), logits, False)
    top = layer_rows(work.hidden, shape, shape.num_streams - 1, num_layers - 1, len(rows))
    np.dot(top, matrix(parameters, shape, head + 2, width, 1), values)
    add_bias(vector(parameters, shape, head + 3), values, False)


@compiled_loop
def backward(
    parameters: np.ndarray,  # flat
    shape: Shape,
    coded: Coded,
    rows: np.ndarray,  # int64 [D], those of `forward`
    work: Work,  # as `forward` left it
    logit_slopes: np.ndarray,  # [D, K]
    value_slopes: np.ndarray,  # [D, 1]
    gradients: np.ndarray,  # flat, written
) -> None:
    """Writes the gradients of all parameters."""
    num_layers = len(shape.widths)
    width = shape.widths[num_layers - 1]
    head = shape.num_streams * 2 * num_layers
    inputs = work.inputs[: len(rows)]
    for stream in range(shape.num_streams):
        hidden = layer_rows(work.hidden, shape, stream, num_layers - 1, len(rows))
        slopes = layer_rows(work.slopes, shape, stream, num_layers - 1, len(rows))
        if stream == 0:
            weight = matrix(parameters, shape, head, width, shape.num_logits)
            np.dot(logit_slopes, weight.T, slopes)
            target = matrix(gradients, shape, head, width, shape.num_logits)
            np.dot(hidden.T, logit_slopes, target)
            add_up(logit_slopes, vector(gradients, shape, head + 1))
        if stream == shape.num_streams - 1:
            weight = matrix(parameters, shape, head + 2, width, 1)
            if shape.num_streams == 1:
                slopes += np.dot(value_slopes, weight.T)
            else:
                np.dot(value_slopes, weight.T, slopes)
            np.dot(hidden.T, value_slopes, matrix(gradients, shape, head + 2, width, 1))
            add_up(value_slopes, vector(gradients, shape, head + 3))
        first = stream * 2 * num_layers
        for number in range(num_layers - 1, 0, -1):
            close(hidden, slopes)
            above, above_slopes, tensor = hidden, slopes, first + 2 * number
            hidden = layer_rows(work.hidden, shape, stream, number - 1, len(rows))
            slopes = layer_rows(work.slopes, shape, stream, number - 1, len(rows))
            sizes = hidden.shape[1], above.shape[1]
            np.dot(hidden.T, above_slopes, matrix(gradients, shape, tensor, sizes[0], sizes[1]))
            add_up(above_slopes, vector(gradients, shape, tensor + 1))
            weight = matrix(parameters, shape, tensor, sizes[0], sizes[1])
            np.dot(above_slopes, weight.T, slopes)
        close(hidden, slopes)
        target = matrix(gradients, shape, first, shape.num_columns, shape.widths[0])
        total = np.empty((1, shape.widths[0]))
        add_up(slopes, total[0])
        vector(gradients, shape, first + 1)[:] = total[0]
        target[inputs.shape[1] :] = 0
        if inputs.shape[1]:
            np.dot(inputs.T, slopes, target[: inputs.shape[1]])
        if not coded.dense:
            scatter(coded, rows, slopes, total, work.table_slopes, work.seen, target)


@compiled_loop
def matrix(flat: np.ndarray, shape: Shape, tensor: int, num_in: int, num_out: int) -> np.ndarray:
    """Returns a weight [in, out] of the flat vector, as a view."""
    return flat[shape.starts[tensor] : shape.starts[tensor + 1]].reshape(num_in, num_out)


@compiled_loop
def vector(flat: np.ndarray, shape: Shape, tensor: int) -> np.ndarray:
    """Returns a bias of the flat vector, as a view."""
    return flat[shape.starts[tensor] : shape.starts[tensor + 1]]


@compiled_loop
def layer_rows(
    flat: np.ndarray, shape: Shape, stream: int, number: int, num_rows: int
) -> np.ndarray:
    """Returns the rows [D, width] of a hidden layer in `Work.hidden` or `Work.slopes`."""
    each, before = 0, 0
    for layer in range(len(shape.widths)):
        each += shape.widths[layer]
        if layer < number:
            before += shape.widths[layer]
    begin = num_rows * (stream * each + before)
    width = shape.widths[number]
    return flat[begin : begin + num_rows * width].reshape(num_rows, width)


@compiled_loop
def gather_inputs(coded: Coded, rows: np.ndarray, inputs: np.ndarray) -> None:
    """Writes the inputs [D, F] of a matrix product; one-hot where all columns are its inputs."""
    numbers, items, ends = coded.numbers, coded.items, coded.ends
    num_numbers = numbers.shape[1]
    for i in range(len(rows)):
        row = rows[i]
        for f in range(num_numbers):
            inputs[i, f] = numbers[row, f]
        if coded.dense:
            for f in range(num_numbers, inputs.shape[1]):
                inputs[i, f] = 0
            for j in range(ends[row], ends[row + 1]):
                inputs[i, items[j]] = 1


@compiled_loop
def build_table(
    weight: np.ndarray, bias: np.ndarray, coded: Coded, table: np.ndarray, base: np.ndarray
) -> None:
    """Writes what contents add to the first layer's output [R, H], and that output [1, H]."""
    base_columns, row_columns, row_cell = coded.base_columns, coded.row_columns, coded.row_cell
    common = np.zeros((len(base_columns), base.shape[1]), base.dtype)
    base[0] = bias
    for cell in range(len(base_columns)):
        for number in range(base_columns.shape[1]):
            if base_columns[cell, number] >= 0:
                add_row(weight, base_columns[cell, number], common, cell)
        add_row(common, cell, base, 0)
    for row in range(len(row_cell)):
        for h in range(base.shape[1]):
            table[row, h] = -common[row_cell[row], h]
        for number in range(row_columns.shape[1]):
            if row_columns[row, number] >= 0:
                add_row(weight, row_columns[row, number], table, row)


@compiled_loop
def add_rows(
    coded: Coded, rows: np.ndarray, table: np.ndarray, base: np.ndarray, hidden: np.ndarray
) -> None:
    """Adds base and differences to the first layer's outputs [D, H], and applies ReLU."""
    items, ends = coded.items, coded.ends
    for i in range(len(rows)):
        add_row(base, 0, hidden, i)
        if not coded.dense:
            for j in range(ends[rows[i]], ends[rows[i] + 1]):
                add_row(table, items[j], hidden, i)
        rectify(hidden, i)


@compiled_loop
def scatter(
    coded: Coded,
    rows: np.ndarray,
    slopes: np.ndarray,  # [D, H]
    total: np.ndarray,  # float64 [1, H], their sum
    table_slopes: np.ndarray,  # float64 [R, H], overwritten
    seen: np.ndarray,  # bool [R], overwritten
    gradients: np.ndarray,  # [K, H], added to
) -> None:
    """Adds the gradients of the first layer's weights for cells.

    Sums are in double precision: where a unit was never open for a cell's commonest content, the
    total less what differed is then 0. What rounding would leave, Adam would magnify.
    """
    items, ends, row_cell = coded.items, coded.ends, coded.row_cell
    base_columns, row_columns = coded.base_columns, coded.row_columns
    table_slopes[:] = 0
    seen[:] = False
    for i in range(len(rows)):
        for j in range(ends[rows[i]], ends[rows[i] + 1]):
            add_row(slopes, i, table_slopes, items[j])
            seen[items[j]] = True
    row = 0
    common = np.empty_like(total)
    for cell in range(len(base_columns)):
        common[:] = total
        while row < len(seen) and row_cell[row] == cell:
            if seen[row]:
                for h in range(common.shape[1]):
                    common[0, h] -= table_slopes[row, h]
                for number in range(row_columns.shape[1]):
                    if row_columns[row, number] >= 0:
                        add_row(table_slopes, row, gradients, row_columns[row, number])
            row += 1
        for number in range(base_columns.shape[1]):
            if base_columns[cell, number] >= 0:
                add_row(common, 0, gradients, base_columns[cell, number])


@compiled_loop
def add_row(source: np.ndarray, row: int, target: np.ndarray, to: int) -> None:
    """Adds a row of a matrix to one of another; views of rows would take longer than that."""
    for h in range(target.shape[1]):
        target[to, h] += source[row, h]


@compiled_loop
def rectify(outputs: np.ndarray, row: int) -> None:
    """Applies ReLU to a row in place; NaN stays NaN."""
    for h in range(outputs.shape[1]):
        if outputs[row, h] <= 0:
            outputs[row, h] = 0


@compiled_loop
def forbid(logits: np.ndarray, numbers: np.ndarray, rows: np.ndarray, mask: int) -> None:
    """Gives the actions that masks forbid the logit that they have in the RLModule, in place.

    Args:
        logits: [B, K].
        numbers: [U, F], of observations; those of a mask stand side by side.
        rows: [B], which observation has which logits.
        mask: where the mask starts; -1: there is none.
    """
    if mask < 0:
        return
    for i in range(len(logits)):
        for k in range(logits.shape[1]):
            if numbers[rows[i], mask + k] == 0:
                logits[i, k] = _FORBIDDEN


@compiled_loop
def add_bias(bias: np.ndarray, outputs: np.ndarray, with_relu: bool) -> None:
    """Adds a bias to outputs [D, H] in place, and applies ReLU where that is asked for."""
    for i in range(len(outputs)):
        for h in range(outputs.shape[1]):
            outputs[i, h] += bias[h]
        if with_relu:
            rectify(outputs, i)


@compiled_loop
def add_up(slopes: np.ndarray, total: np.ndarray) -> None:
    """Writes the sum of rows [D, H]."""
    total[:] = 0
    for i in range(len(slopes)):
        for h in range(slopes.shape[1]):
            total[h] += slopes[i, h]


@compiled_loop
def close(hidden: np.ndarray, slopes: np.ndarray) -> None:
    """Removes gradients [D, H] where ReLU gave 0."""
    for i in range(len(hidden)):
        for h in range(hidden.shape[1]):
            if hidden[i, h] <= 0:
                slopes[i, h] = 0
