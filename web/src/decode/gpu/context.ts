/** WebGL2 contexts of real graphics cards, for decoding and for drawing. */

import { RendererError } from "../evaluator";

/** Names of what emulates a card on the CPU; some browsers grant these also to those who want none. */
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

/**
 * A context, and the name of the card.
 *
 * @param allowSoftware Take one that the CPU emulates.
 * @throws RendererError if there is none.
 */
export function webgl2Context(
  canvas: HTMLCanvasElement | OffscreenCanvas,
  allowSoftware: boolean,
  options: WebGLContextAttributes = {},
): { gl: WebGL2RenderingContext; name: string } {
  const all = { depth: false, stencil: false, antialias: false, failIfMajorPerformanceCaveat: !allowSoftware, ...options };
  const gl = canvas.getContext("webgl2", all) as WebGL2RenderingContext | null;
  if (!gl) throw new RendererError("there is no WebGL2, or it is emulated by the CPU");
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const name = String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  if (!allowSoftware && SOFTWARE.test(name)) {
    giveBack(gl);
    throw new RendererError(`WebGL2 is emulated by the CPU here: ${name}`);
  }
  return { gl, name };
}

/** Give a context back to the browser, which has only a few of them; it is lost. */
export function giveBack(gl: WebGL2RenderingContext): void {
  gl.getExtension("WEBGL_lose_context")?.loseContext();
}

/** What is made with a context, which is given back if that fails. */
export function madeWith<T>(gl: WebGL2RenderingContext, make: () => T): T {
  try {
    return make();
  } catch (error) {
    giveBack(gl);
    throw error;
  }
}

/** @throws RendererError if the shaders do not compile. */
export function linkProgram(gl: WebGL2RenderingContext, fragments: string): WebGLProgram {
  const program = gl.createProgram()!;
  for (const [type, text] of [[gl.VERTEX_SHADER, VERTICES], [gl.FRAGMENT_SHADER, fragments]] as const) {
    const shader = gl.createShader(type)!;
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = [gl.getProgramInfoLog(program), ...gl.getAttachedShaders(program)!.map((shader) => gl.getShaderInfoLog(shader))];
    throw new RendererError(`WebGL2 does not compile a shader: ${logs.filter(Boolean).join(" ") || "no reason given"}`);
  }
  gl.useProgram(program);
  return program;
}

/** One triangle over all of the viewport. */
const VERTICES = `#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`;
