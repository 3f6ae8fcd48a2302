"""The text of a small HLO module, and the configurations of its four configurable nodes."""

from stages.collect.hlo_text import MAX_RANK

TEXT = """\
HloModule tiny, entry_computation_layout={(f32[32,64]{1,0}, bf16[64,48]{1,0})->f32[32,1,48]{2,1,0}}

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %plus = f32[] add(%a, %b)
}

ENTRY %main (x: f32[32,64], y.2: bf16[64,48]) -> f32[32,1,48] {
  %x = f32[32,64]{1,0} parameter(0)
  %y.2 = bf16[64,48]{0,1} parameter(1)
  %zero = f32[] constant(0)
  %small = f32[2,3] constant({ { 1, 2, 3 }, { 4, 5, 6 } })
  %thin = f32[3,2]{0,1} transpose(%small), dimensions={1,0}
  %pair = (f32[32,64]{1,0}, f32[]) tuple(%x, %zero)
  %get-tuple-element.5 = f32[32,64]{1,0} get-tuple-element(%pair), index=0
  %flat = f32[2048]{0} reshape(%get-tuple-element.5)
  %back = f32[32,64]{1,0} reshape(%flat)
  %seven = f32[32,2,2,2,2,2,2]{6,5,4,3,2,1,0} reshape(%back)
  %folded = f32[64,32]{1,0} reshape(%seven)
  %cube = f32[4,32,64]{2,1,0} broadcast(%back), dimensions={1,2}
  %both = (f32[32,64]{1,0}, f32[32,64]{1,0}) reduce(%cube, %cube, %zero, %zero), dimensions={0}, to_apply=%sum
  %total = f32[32,64]{1,0} reduce(%cube, %zero), dimensions={0}, to_apply=%sum
  %dot.1 = f32[32,48]{1,0} dot(%total, %y.2), lhs_contracting_dims={1}, rhs_contracting_dims={0}
  ROOT %out = f32[32,1,48]{2,1,0} reshape(%dot.1)
}
"""


def filled(*layouts):
    """A node's row (3, 6) of a configuration."""
    return [list(layout) + [-1] * (MAX_RANK - len(layout)) for layout in layouts]
