/** Solids drawn by the graphics card: the same rays through the same grid as `drawSolid`, one fragment each. */

import { linkProgram, madeWith, webgl2Context } from "../../decode";
import { axesOf, pixelOf, REACH, SKIN, type Solid, stepsOf, type Turn } from "./solids";

const FRAGMENTS = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler3D;
uniform sampler3D values;
uniform vec3 towards;
uniform vec3 right;
uniform vec3 up;
uniform vec3 extent;
uniform float level;
uniform float pixel;
uniform float side;
uniform int steps;
out vec4 colour;
const float NOTHING = -1e30;  // outside of the cube
float sampled(vec3 place) {
  ivec3 size = textureSize(values, 0);
  vec3 at = (place / extent + 0.5) * vec3(size) - 0.5;
  if (any(lessThan(at, vec3(-0.5))) || any(greaterThan(at, vec3(size) - 0.5))) return NOTHING;
  ivec3 low = clamp(ivec3(floor(at)), ivec3(0), max(size - 2, 0));
  ivec3 high = min(low + 1, size - 1);
  vec3 part = clamp(at - vec3(low), 0.0, 1.0);
  vec4 near = vec4(
    texelFetch(values, low, 0).r, texelFetch(values, ivec3(high.x, low.yz), 0).r,
    texelFetch(values, ivec3(low.x, high.y, low.z), 0).r, texelFetch(values, ivec3(high.xy, low.z), 0).r);
  vec4 far = vec4(
    texelFetch(values, ivec3(low.xy, high.z), 0).r, texelFetch(values, ivec3(high.x, low.y, high.z), 0).r,
    texelFetch(values, ivec3(low.x, high.yz), 0).r, texelFetch(values, high, 0).r);
  vec4 plane = mix(near, far, part.z);
  vec2 line = mix(plane.xy, plane.zw, part.y);
  return mix(line.x, line.y, part.x);
}
float known(vec3 place) {
  float value = sampled(place);
  return value == NOTHING ? level - 0.5 : value;
}
void main() {
  vec2 uv = (gl_FragCoord.xy - 0.5 * side) * pixel;
  float stride = ${(2 * REACH).toFixed(3)} / float(steps);
  vec3 place = right * uv.x + up * uv.y + towards * ${REACH.toFixed(3)};
  float before = NOTHING;
  colour = vec4(0.0);
  for (int i = 0; i < steps; i++) {
    float here = sampled(place);
    if (here >= level) {
      bool isCut = before == NOTHING;
      if (!isCut) place += towards * ((here - level) / (here - before)) * stride;
      float h = 1.0 / float(max(max(textureSize(values, 0).x, textureSize(values, 0).y), textureSize(values, 0).z));
      vec3 slope = vec3(
        known(place - vec3(h, 0, 0)) - known(place + vec3(h, 0, 0)),
        known(place - vec3(0, h, 0)) - known(place + vec3(0, h, 0)),
        known(place - vec3(0, 0, h)) - known(place + vec3(0, 0, h)));
      float size = length(slope);
      slope /= size == 0.0 ? 1.0 : size;
      float facing = dot(slope, towards);
      float light = 0.3 + 0.6 * max(isCut ? abs(facing) : facing, 0.0) + 0.15 * slope.y;
      colour = vec4((vec3(${SKIN.map((c) => c.toFixed(1)).join(", ")}) * light + 40.0 * pow(max(facing, 0.0), 12.0)) / 255.0, 1.0);
      return;
    }
    before = here;
    place -= towards * stride;
  }
}`;

export class SolidCard {
  private static found: SolidCard | null | undefined;
  private readonly uniforms: Record<string, WebGLUniformLocation | null>;
  private shown: Solid | null = null;

  private constructor(
    private readonly gl: WebGL2RenderingContext,
    readonly canvas: HTMLCanvasElement,
  ) {
    const program = linkProgram(gl, FRAGMENTS);
    const names = ["towards", "right", "up", "extent", "level", "pixel", "side", "steps"];
    this.uniforms = Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)]));
    gl.bindTexture(gl.TEXTURE_3D, gl.createTexture());
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_3D, name, gl.NEAREST);
    // A context that comes back has lost its textures and programs: another one is made when it is needed.
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      SolidCard.found = null;
    });
    canvas.addEventListener("webglcontextrestored", () => (SolidCard.found = undefined));
  }

  /** The one of this page; null where the CPU would have to emulate it, and draws better by itself. */
  static get(): SolidCard | null {
    if (SolidCard.found === undefined) SolidCard.found = SolidCard.create();
    return SolidCard.found;
  }

  private static create(): SolidCard | null {
    const canvas = document.createElement("canvas");
    try {
      const { gl } = webgl2Context(canvas, isForced());
      return madeWith(gl, () => new SolidCard(gl, canvas));
    } catch {
      return null;
    }
  }

  /** Draw a square picture of a solid; false if that does not work any more. */
  draw(solid: Solid, turn: Turn, side: number): boolean {
    const { gl, canvas, uniforms } = this;
    if (gl.isContextLost()) return false;
    if (this.shown !== solid) {
      const [nz, ny, nx] = solid.size;
      gl.texImage3D(gl.TEXTURE_3D, 0, gl.R32F, nx, ny, nz, 0, gl.RED, gl.FLOAT, solid.values);
      this.shown = solid;
    }
    if (canvas.width !== side) canvas.width = canvas.height = side;
    gl.viewport(0, 0, side, side);
    const { towards, right, up } = axesOf(turn);
    for (const [name, axis] of Object.entries({ towards, right, up, extent: solid.extent })) gl.uniform3fv(uniforms[name], [...axis].reverse());
    gl.uniform1f(uniforms.level, solid.level);
    gl.uniform1f(uniforms.pixel, pixelOf(turn, side));
    gl.uniform1f(uniforms.side, side);
    gl.uniform1i(uniforms.steps, stepsOf(solid));
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    return !gl.isContextLost();
  }
}

/** Whether the address asks for WebGL2, so that it is taken also where the CPU emulates it. */
const isForced = (): boolean => new URLSearchParams(window.location.search).get("renderer") === "webgl2";
