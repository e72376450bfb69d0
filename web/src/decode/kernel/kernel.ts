// The network on one core, 8 points at a time: AssemblyScript, compiled to WebAssembly with SIMD.
//
// Hidden values lie as (unit, 8 points), so that a vector holds one unit of four points. Kernels lie in panels of four
// outputs, (panel, input, 4), and are multiplied by w0 already. A layer keeps 2 vectors of points x 4 outputs in
// registers, and reads each weight once per 8 points. V8 loads all weights of an input before it uses the first: with
// these, the points and the sums, 14 of the 15 registers are taken that it has on x86. With 12 sums some were kept in
// memory, each step waited for them, and the kernel took twice as long (on an AMD EPYC 29 GFLOP/s on a core instead of
// 53). Relaxed SIMD, whose multiply-add is one instruction, is faster by 3 in 100: too little for a second module.

const POINTS: i32 = 8;
const GROUP: usize = 32; // bytes of one unit of 8 points

// @ts-ignore: decorator
@inline
function fma(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

/** Sine: the argument less k pi, pi in three parts that are exact in float32, and a polynomial of degree 9. */
// @ts-ignore: decorator
@inline
function sine(x: v128): v128 {
  const k = f32x4.nearest(f32x4.mul(x, f32x4.splat(0.31830987)));
  let r = f32x4.sub(x, f32x4.mul(k, f32x4.splat(3.140625)));
  r = f32x4.sub(r, f32x4.mul(k, f32x4.splat(9.67502593994140625e-4)));
  r = f32x4.sub(r, f32x4.mul(k, f32x4.splat(1.509957990978376432e-7)));
  const z = f32x4.mul(r, r);
  let p = fma(z, f32x4.splat(2.605019582e-6), f32x4.splat(-0.0001980898298));
  p = fma(p, z, f32x4.splat(0.008333049779));
  p = fma(p, z, f32x4.splat(-0.1666665794));
  p = fma(p, z, f32x4.splat(0.9999999957));
  const sign = i32x4.shl(i32x4.trunc_sat_f32x4_s(k), 31);
  return v128.xor(f32x4.mul(p, r), sign);
}

/** out (outputs, 8) = sine or not of kernel^T hidden (inputs, 8) + bias; outputs are filled up to a multiple of 4. */
function layer(hidden: usize, inputs: i32, kernel: usize, bias: usize, outputs: i32, out: usize, isSine: bool): void {
  for (let j = 0; j < outputs; j += 4) {
    let a0 = v128.load32_splat(bias), a1 = a0;
    let b0 = v128.load32_splat(bias, 4), b1 = b0;
    let c0 = v128.load32_splat(bias, 8), c1 = c0;
    let d0 = v128.load32_splat(bias, 12), d1 = d0;
    let h = hidden;
    const end = hidden + <usize>inputs * GROUP;
    while (h < end) {
      const h0 = v128.load(h);
      const h1 = v128.load(h, 16);
      let w = v128.load32_splat(kernel);
      a0 = fma(h0, w, a0); a1 = fma(h1, w, a1);
      w = v128.load32_splat(kernel, 4);
      b0 = fma(h0, w, b0); b1 = fma(h1, w, b1);
      w = v128.load32_splat(kernel, 8);
      c0 = fma(h0, w, c0); c1 = fma(h1, w, c1);
      w = v128.load32_splat(kernel, 12);
      d0 = fma(h0, w, d0); d1 = fma(h1, w, d1);
      h += GROUP;
      kernel += 16;
    }
    if (isSine) {
      a0 = sine(a0); a1 = sine(a1);
      b0 = sine(b0); b1 = sine(b1);
      c0 = sine(c0); c1 = sine(c1);
      d0 = sine(d0); d1 = sine(d1);
    }
    v128.store(out, a0); v128.store(out, a1, 16);
    v128.store(out, b0, 32); v128.store(out, b1, 48);
    v128.store(out, c0, 64); v128.store(out, c1, 80);
    v128.store(out, d0, 96); v128.store(out, d1, 112);
    out += 4 * GROUP;
    bias += 16;
  }
}

/**
 * Evaluate points that share their shifts.
 *
 * weights: kernels in panels, one after the other: (inputs, width), (width, width) ..., (width, channels).
 * biases: (sine layers, width filled up to 4), times w0 and with the shifts, and the last layer's, filled up.
 * inputs: (points, numInputs); numbers: (points, channels); scratch: two blocks of (widest, 8).
 */
export function evaluate(
  points: i32, numInputs: i32, width: i32, sineLayers: i32, channels: i32,
  weights: usize, biases: usize, inputs: usize, numbers: usize, scratch: usize,
): void {
  const wide = (width + 3) & ~3;
  const last = (channels + 3) & ~3;
  const widest = max(max(wide, last), numInputs);
  for (let first = 0; first < points; first += POINTS) {
    const count = min(POINTS, points - first);
    let hidden = scratch;
    let next = scratch + <usize>widest * GROUP;
    for (let p = 0; p < POINTS; p++) {
      const from = inputs + (<usize>(first + min(p, count - 1)) * numInputs << 2);
      for (let i = 0; i < numInputs; i++) {
        store<f32>(hidden + <usize>i * GROUP + (p << 2), load<f32>(from + (i << 2)));
      }
    }
    let kernel = weights;
    let bias = biases;
    let fanIn = numInputs;
    for (let l = 0; l < sineLayers; l++) {
      layer(hidden, fanIn, kernel, bias, wide, next, true);
      kernel += <usize>fanIn * wide << 2;
      bias += <usize>wide << 2;
      fanIn = width;
      const swap = hidden;
      hidden = next;
      next = swap;
    }
    layer(hidden, fanIn, kernel, bias, last, next, false);
    for (let p = 0; p < count; p++) {
      const to = numbers + (<usize>(first + p) * channels << 2);
      for (let c = 0; c < channels; c++) {
        store<f32>(to + (c << 2), load<f32>(next + <usize>c * GROUP + (p << 2)));
      }
    }
  }
}
