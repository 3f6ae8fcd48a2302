"""`python -m tests.data.make_modules`: writes the HLO modules of this folder, as protos and as the text XLA prints.

Needs the packages of requirements-collect.txt. The function does nothing useful: it has one of each kind of operation
whose attributes end in a feature column.
"""

from __future__ import annotations

from pathlib import Path

from stages.collect.cpu import compiling
from stages.hlo import hlo_pb2

FOLDER = Path(__file__).parent
IMAGES, ROWS, BYTES, HALVES, START = (2, 9, 11, 4), (6, 24), (5, 7), (3, 8), ()

#: what no JAX function gives on a CPU, or what XLA rewrites before it assigns layouts
WRITTEN = """
HloModule written

sum {
  a = f32[] parameter(0)
  ROOT b = f32[] add(a, f32[] parameter(1))
}

ENTRY main {
  images = f32[2,9,11,4]{0,3,2,1} parameter(0)
  kernel = f32[3,2,4,6]{3,2,0,1} parameter(1)
  seven = u64[2,1,3,1,2,1,5]{0,1,2,3,6,5,4} parameter(2)
  doubles = f64[6,7]{0,1} parameter(3)
  zero = f64[] constant(-0)
  start = s64[] constant(1)
  flipped = f32[1,7,13,6]{1,2,3,0} convolution(images, kernel), window={size=3x2 pad=0_0x3_0 rhs_reversal=1x0}, \
dim_labels=b01f_01io->b01f, batch_group_count=2
  filter = f32[6,2,2,3]{3,2,1,0} parameter(4)
  odd = f32[3,11,7,6]{3,2,1,0} convolution(images, filter), window={size=3x2}, dim_labels=f0b1_o1i0->1b0f
  pad = f64[8,4]{0,1} pad(doubles, zero), padding=-1_-2_1x0_-3
  slice = u64[2,1,1,1,1,1,2]{0,1,2,3,6,5,4} slice(seven), slice={[0:2], [0:1], [1:3:2], [0:1], [1:2], [0:1], [0:5:4]}
  window = f64[3,2]{1,0} dynamic-slice(doubles, start, start), dynamic_slice_sizes={3,2}
  halves = f16[2,9,11,4]{2,0,3,1} convert(images)
  moved = f16[4,11,2,9]{1,0,3,2} transpose(halves), dimensions={3,2,0,1}
  unstable = f64[6,7]{1,0} sort(doubles), dimensions={0}, to_apply={
    p = f64[] parameter(0)
    q = f64[] parameter(1)
    ROOT less = pred[] compare(p, q), direction=LT
  }
  nothing = f32[0,3]{1,0} broadcast(f32[3]{0} constant({1, 2, 3})), dimensions={1}
  total = f32[2,4]{0,1} reduce(images, f32[] constant(0)), dimensions={2,1}, to_apply=sum
  windows = f32[2,4,11,4]{3,2,1,0} reduce-window(images, f32[] constant(0)), \
window={size=1x3x1x1 stride=1x2x1x1}, to_apply=sum
  ROOT all = (f32[1,7,13,6], f64[8,4], u64[2,1,1,1,1,1,2], f64[3,2], (f16[4,11,2,9], f64[6,7]), f32[0,3], f32[2,4], \
f32[2,4,11,4], f32[3,11,7,6]) tuple(flipped, pad, slice, window, (f16[4,11,2,9], f64[6,7]) tuple(moved, unstable), \
nothing, total, windows, odd)
}
"""


def function(images, rows, flags, halves, start):
    """Convolutions of all sorts, then the other operations, on several element types."""
    import jax.numpy as jnp
    from jax import lax

    kernel = jnp.sin(lax.broadcasted_iota(jnp.float32, (3, 2, 4, 6), 2))
    labels = ("NHWC", "HWIO", "NHWC")
    strided = lax.conv_general_dilated(images, kernel, (2, 3), [(1, 2), (0, 1)], dimension_numbers=labels)
    grouped = lax.conv_general_dilated(
        images,
        kernel[:, :, :1, :4],
        (1, 1),
        "VALID",
        rhs_dilation=(2, 3),
        dimension_numbers=labels,
        feature_group_count=4,
    )
    upsampled = lax.conv_transpose(images, kernel, (2, 2), "SAME", dimension_numbers=labels, transpose_kernel=False)
    flipped = lax.conv_general_dilated(
        jnp.transpose(images, (3, 1, 2, 0)), kernel, (1, 1), [(0, 0), (3, 1)], lhs_dilation=(1, 2),
        dimension_numbers=("CHWN", "HWIO", "CNHW"), batch_group_count=2,
    )  # fmt: skip
    weights = lax.conv_general_dilated(
        images, images[:, :3, :2], (1, 1), "VALID", dimension_numbers=("CHWN", "IHWO", "NHWC")
    )
    pooled = lax.reduce_window(images, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), [(0, 0), (1, 0), (0, 1), (0, 0)])
    dilated = lax.reduce_window(rows, 0.0, lax.add, (2, 3), (1, 2), "VALID", window_dilation=(3, 2))
    cut = lax.slice(images, (0, 1, 2, 0), (2, 8, 11, 3), (1, 3, 2, 1))
    padded = lax.pad(rows, 1.5, [(1, 2, 0), (-3, 4, 0)])
    spaced = lax.pad(halves, jnp.bfloat16(0), [(0, 1, 2), (2, 0, 1)])
    window = lax.dynamic_slice(rows, (start, start + 1), (2, 5))
    updated = lax.dynamic_update_slice(flags, jnp.ones((2, 3), jnp.uint8), (start, start))
    turned = lax.rev(jnp.concatenate([rows, rows * 2, rows[:1]], 0), (1,))
    keys, order = lax.sort((rows, lax.broadcasted_iota(jnp.int32, ROWS, 1)), dimension=1, is_stable=True)
    product = lax.dot_general(rows.reshape(4, 6, 6), rows.reshape(4, 6, 6), (((2,), (1,)), ((0,), (0,))))
    wave = lax.complex(rows, padded[:6, :24])

    def body(step, carried):
        total, table = carried
        row = lax.dynamic_slice(table, (step, 0), (1, 24))
        return total + row[0], table * 0.5

    total, table = lax.fori_loop(0, start, body, (jnp.zeros(24), rows))
    chosen = lax.cond(start > 2, lambda x: jnp.transpose(x) * 2.0, lambda x: jnp.reshape(x, (24, 6)) + 1.0, rows)
    flat = jnp.transpose(lax.reduce(images, 0.0, lax.add, (1,)), (2, 0, 1)).reshape(8, 11)
    wider = jnp.broadcast_to(jnp.max(rows, axis=0)[:, None, None], (24, 2, 3))
    taken = jnp.take(rows, jnp.clip(order[0], 0, 5), axis=0)
    return (
        strided, grouped, upsampled, flipped, weights, pooled, dilated, cut, padded, spaced, window, updated, turned,
        keys, order.astype(jnp.int8), product, jnp.real(wave * wave), wave, total, table, chosen, flat, wider, taken,
        flags > 3, order % 7, jnp.argmax(rows, axis=1),
    )  # fmt: skip


def save(name: str, proto: hlo_pb2.HloProto, text: str) -> None:
    """Writes NAME.hlo.pb and NAME.txt; the proto keeps the fields of stages/hlo/hlo.proto alone, so no file names."""
    proto.DiscardUnknownFields()
    (FOLDER / f"{name}.hlo.pb").write_bytes(proto.SerializeToString(deterministic=True))
    (FOLDER / f"{name}.txt").write_text(text.rstrip() + "\n")


def main() -> None:
    compiling.set_environment()
    import jax
    import jax.numpy as jnp
    from jaxlib import _hlo

    types = (jnp.float32, jnp.float32, jnp.uint8, jnp.bfloat16, jnp.int32)
    shapes = (IMAGES, ROWS, BYTES, HALVES, START)
    arguments = tuple(jax.ShapeDtypeStruct(shape, kind) for shape, kind in zip(shapes, types, strict=True))
    before, text, _ = compiling.dumped(function, arguments)
    save("module", hlo_pb2.HloProto.FromString(before), text)
    compiled = jax.jit(function).lower(*arguments).compile().runtime_executable().hlo_modules()[0]
    printing = _hlo.HloPrintOptions()
    printing.print_large_constants = True
    printing.print_metadata = False
    printing.print_backend_config = False
    optimised = hlo_pb2.HloProto(
        hlo_module=hlo_pb2.HloModuleProto.FromString(compiled.as_serialized_hlo_module_proto())
    )
    save("optimised", optimised, compiled.to_string(printing))
    written = _hlo.hlo_module_from_text(WRITTEN)
    parsed = hlo_pb2.HloModuleProto.FromString(written.as_serialized_hlo_module_proto())
    save("written", hlo_pb2.HloProto(hlo_module=parsed), written.to_string(printing))


if __name__ == "__main__":
    main()
