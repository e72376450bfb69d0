/**
 * Sine for graphics cards, whose own is only as precise as its maker likes: phones' are off by percents for large arguments.
 *
 * The argument is counted in turns: weights are multiplied by w0 / 2 pi in double precision before they are uploaded. What
 * lies within one turn, t - round(t), is then exact in float32, and no constant has to be subtracted in parts, which
 * compilers may reorder. With u in [-1/2, 1/2], sin(2 pi u) = u (1/4 - u^2) Q(u^2): its zeros are exact, and Q is a
 * polynomial of degree 5 that has an error of at most 1.3e-9; rounding in float32 makes at most 2.5e-7 of it.
 */

/** Coefficients of Q, the constant first; a weighted minimax fit on [0, 1/4]. */
export const COEFFICIENTS = [
  25.132741928100586, -64.83582305908203, 67.0767593383789, -38.498416900634766, 14.06550407409668, -3.1933717727661133,
];

/** Largest error of the sine of turns in float32 arithmetic. */
export const SINE_ERROR = 2.5e-7;

/** The polynomial as text of a shader, of the variable z. */
const polynomial = COEFFICIENTS.map((c) => c.toFixed(9)).reduceRight((inner, c) => `${c} + z * (${inner})`);

export const GLSL_SINE = `
vec4 sineOfTurns(vec4 t) {
  vec4 u = t - round(t);
  vec4 z = u * u;
  return u * (0.25 - z) * (${polynomial});
}`;

export const WGSL_SINE = `
fn sineOfTurns(t: vec4f) -> vec4f {
  let u = t - round(t);
  let z = u * u;
  return u * (0.25 - z) * (${polynomial});
}`;

/** Turns in a radian. */
export const TURNS = 1 / (2 * Math.PI);
