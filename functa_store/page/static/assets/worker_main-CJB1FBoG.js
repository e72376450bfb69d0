var e=class extends Error{name=`StoreError`};Uint32Array.from({length:256},(e,t)=>{let n=t;for(let e=0;e<8;e++)n=n&1?n>>>1^2197175160:n>>>1;return n});var t=class extends e{name=`RendererError`};function n(e,{shifts:t,inputs:n,rows:r}){let{network:i,sine:a,last:o}=e,{width:s,w0:c,channels:l}=i,u=n.length/i.inputs,d=new Float32Array(u*l),f=Math.max(s,i.inputs),[p,m]=[new Float64Array(f),new Float64Array(f)];for(let e=0;e<u;e++){for(let t=0;t<i.inputs;t++)p[t]=n[e*i.inputs+t];let u=(r?r[e]:0)*a.length*s;for(let e=0;e<a.length;e++){let{kernel:n,bias:r}=a[e];for(let n=0;n<s;n++)m[n]=r[n]+t.values[u+e*s+n];let o=e?s:i.inputs;for(let e=0;e<o;e++){let t=p[e];for(let r=0,i=e*s;r<s;r++,i++)m[r]=m[r]+t*n[i]}for(let e=0;e<s;e++)m[e]=Math.sin(c*m[e]);[p,m]=[m,p]}for(let t=0;t<l;t++){let n=o.bias[t];for(let e=0;e<s;e++)n+=p[e]*o.kernel[e*l+t];d[e*l+t]=n}}return d}const r=/swiftshader|llvmpipe|softpipe|software|basic render/i;function i(e,n,i={}){let a={depth:!1,stencil:!1,antialias:!1,failIfMajorPerformanceCaveat:!n,...i},o=e.getContext(`webgl2`,a);if(!o)throw new t(`there is no WebGL2, or it is emulated by the CPU`);let s=o.getExtension(`WEBGL_debug_renderer_info`),c=String(o.getParameter(s?s.UNMASKED_RENDERER_WEBGL:o.RENDERER));if(!n&&r.test(c))throw o.getExtension(`WEBGL_lose_context`)?.loseContext(),new t(`WebGL2 is emulated by the CPU here: ${c}`);return{gl:o,name:c}}function a(e,n){let r=e.createProgram();for(let[t,i]of[[e.VERTEX_SHADER,o],[e.FRAGMENT_SHADER,n]]){let n=e.createShader(t);e.shaderSource(n,i),e.compileShader(n),e.attachShader(r,n)}if(e.linkProgram(r),!e.getProgramParameter(r,e.LINK_STATUS))throw new t(`WebGL2 does not compile a shader: ${[e.getProgramInfoLog(r),...e.getAttachedShaders(r).map(t=>e.getShaderInfoLog(t))].filter(Boolean).join(` `)||`no reason given`}`);return e.useProgram(r),r}const o=`#version 300 es
void main() {
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0);
}`,s=[25.132741928100586,-64.83582305908203,67.0767593383789,-38.498416900634766,14.06550407409668,-3.1933717727661133].map(e=>e.toFixed(9)).reduceRight((e,t)=>`${t} + z * (${e})`),c=`
vec4 sineOfTurns(vec4 t) {
  vec4 u = t - round(t);
  vec4 z = u * u;
  return u * (0.25 - z) * (${s});
}`,l=`
fn sineOfTurns(t: vec4f) -> vec4f {
  let u = t - round(t);
  let z = u * u;
  return u * (0.25 - z) * (${s});
}`,u=1/(2*Math.PI);function d({network:e,sine:t,last:n}){let{inputs:r,width:i,channels:a,w0:o}=e;return[...t.map(({kernel:e},t)=>({kernel:e,fanIn:t?i:r,fanOut:i,factor:o*u})),{kernel:n.kernel,fanIn:i,fanOut:a,factor:1}]}function f({network:e,sine:t,last:n},r,i){let{width:a,w0:o}=e,s=t.length+1,c=new Float32Array(r.rows*s*i);for(let e=0;e<r.rows;e++){for(let n=0;n<t.length;n++){let{bias:l}=t[n],d=(e*t.length+n)*a,f=(e*s+n)*i;for(let e=0;e<a;e++){let t=(l[e]+r.values[d+e])*o*u;c[f+e]=t-Math.round(t)}}c.set(n.bias,(e*s+t.length)*i)}return c}const[p,m]=[2**16,2**23],[h,g]=[1024,2**22],_=e=>`#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
precision highp sampler2DArray;
precision highp isampler2D;
layout(std140) uniform Kernel { mat4 kernel[${e}]; };
uniform sampler2DArray source;
uniform sampler2D offsets;
uniform isampler2D rows;
uniform int steps;       // inputs, by fours
uniform int tall;        // rows of texels of a group
uniform int bottom;      // first row of texels of the group that is written
uniform int first;       // where this group's offsets begin in a row of them, by fours
uniform int rowSize;     // offsets of one row of shifts, by fours; 0 where all points share one
uniform bool isSine;
layout(location = 0) out vec4 out0;
layout(location = 1) out vec4 out1;
layout(location = 2) out vec4 out2;
layout(location = 3) out vec4 out3;
${c}
vec4 offset(int place) {
  return texelFetch(offsets, ivec2(place % ${h}, place / ${h}), 0);
}
void main() {
  ivec2 point = ivec2(gl_FragCoord.xy) - ivec2(0, bottom);
  int place = first + (rowSize == 0 ? 0 : rowSize * texelFetch(rows, point, 0).x);
  vec4 a = offset(place);
  vec4 b = offset(place + 1);
  vec4 c = offset(place + 2);
  vec4 d = offset(place + 3);
  for (int i = 0; i < steps; i++) {
    vec4 h = texelFetch(source, ivec3(point.x, point.y + (i >> 2) * tall, i & 3), 0);
    a += kernel[4 * i] * h;
    b += kernel[4 * i + 1] * h;
    c += kernel[4 * i + 2] * h;
    d += kernel[4 * i + 3] * h;
  }
  out0 = isSine ? sineOfTurns(a) : a;
  out1 = isSine ? sineOfTurns(b) : b;
  out2 = isSine ? sineOfTurns(c) : c;
  out3 = isSine ? sineOfTurns(d) : d;
}`;var v=class{weights;name;gl;layers;uniforms;targets;inputs;rows;offsets;padded;most;blockBytes;inputLayers;constructor(e,n){this.weights=e;let{network:r}=e,{gl:o,name:s}=i(typeof OffscreenCanvas>`u`?document.createElement(`canvas`):new OffscreenCanvas(1,1),n,{alpha:!1,powerPreference:`high-performance`});if([this.gl,this.name]=[o,s],!o.getExtension(`EXT_color_buffer_float`))throw new t(`WebGL2 cannot draw to float32 here`);this.padded=x(16,Math.max(r.width,r.channels));let c=x(4,Math.max(r.width,r.inputs));this.blockBytes=64*c;let l=o.getParameter(o.MAX_UNIFORM_BLOCK_SIZE);if(this.blockBytes>l)throw new t(`WebGL2 takes networks of at most ${l/64} units here, this one has ${r.width}`);this.most=256*Math.max(1,Math.min(p/256,Math.floor(m/this.padded/256))),this.inputLayers=Math.ceil(r.inputs/4);let u=a(o,_(c)),d=[`source`,`offsets`,`rows`,`steps`,`tall`,`bottom`,`first`,`rowSize`,`isSine`];this.uniforms=Object.fromEntries(d.map(e=>[e,o.getUniformLocation(u,e)])),o.uniformBlockBinding(u,o.getUniformBlockIndex(u,`Kernel`),0),[`source`,`offsets`,`rows`].forEach((e,t)=>o.uniform1i(this.uniforms[e],t));let{packed:f,layers:h}=b(e,c);this.layers=h,o.bindBuffer(o.UNIFORM_BUFFER,o.createBuffer()),o.bufferData(o.UNIFORM_BUFFER,f,o.STATIC_DRAW),this.buffer=o.getParameter(o.UNIFORM_BUFFER_BINDING);let g=this.most/256,v=g*this.padded/16;if(v>o.getParameter(o.MAX_TEXTURE_SIZE))throw new t(`WebGL2 has too small textures here`);if(this.inputs=this.array(256,g,this.inputLayers),this.targets=[this.target(v),this.target(v)],this.rows=this.flat(),o.texStorage2D(o.TEXTURE_2D,1,o.R32I,256,g),this.offsets=this.flat(),o.getError()!==o.NO_ERROR)throw new t(`WebGL2 has too little memory here`)}buffer;dispose(){this.gl.getExtension(`WEBGL_lose_context`)?.loseContext()}evaluate({shifts:e,inputs:n,rows:r}){let{inputs:i,channels:a}=this.weights.network,o=n.length/i,s=new Float32Array(o*a),c=(this.weights.sine.length+1)*this.padded;for(let i=0;i<o;){let l=r?r[i]:0,u=Math.min(o,i+this.most);if(r)for(;(r[u-1]-l+1)*c>g&&u>i+1;)u=i+(u-i>>1);this.upload(n,i,u);let d=r?r.subarray(i,u).map(e=>e-l):null;d&&this.uploadRows(d);let f=this.weights.sine.length*this.weights.network.width,p=l+(d?d[d.length-1]:0)+1;this.uploadOffsets({rows:p-l,values:e.values.subarray(l*f,p*f)});let m=this.draw(u-i,d!==null);if(this.read(m,u-i,s.subarray(i*a,u*a)),this.gl.isContextLost())throw new t(`the browser took WebGL2 away, as it does when a graphics card hangs or is needed elsewhere`);i=u}return s}upload(e,t,n){let{gl:r}=this,{inputs:i}=this.weights.network,a=Math.ceil((n-t)/256),o=1024*a,s=new Float32Array(o*this.inputLayers);for(let r=t,a=0;r<n;r++,a+=4)for(let t=0;t<i;t++)s[(t>>2)*o+a+(t&3)]=e[r*i+t];r.activeTexture(r.TEXTURE0),r.bindTexture(r.TEXTURE_2D_ARRAY,this.inputs),r.texSubImage3D(r.TEXTURE_2D_ARRAY,0,0,0,0,256,a,this.inputLayers,r.RGBA,r.FLOAT,s)}uploadRows(e){let{gl:t}=this,n=Math.ceil(e.length/256),r=new Int32Array(n*256);r.set(e),t.activeTexture(t.TEXTURE2),t.bindTexture(t.TEXTURE_2D,this.rows),t.texSubImage2D(t.TEXTURE_2D,0,0,0,256,n,t.RED_INTEGER,t.INT,r)}uploadOffsets(e){let{gl:t}=this,n=f(this.weights,e,this.padded),r=Math.ceil(n.length/4/h),i=new Float32Array(4*h*r);i.set(n),t.activeTexture(t.TEXTURE1),t.bindTexture(t.TEXTURE_2D,this.offsets),t.texImage2D(t.TEXTURE_2D,0,t.RGBA32F,h,r,0,t.RGBA,t.FLOAT,i)}draw(e,t){let{gl:n,uniforms:r}=this,i=Math.ceil(e/256),a=this.padded/4;n.activeTexture(n.TEXTURE2),n.bindTexture(n.TEXTURE_2D,this.rows),n.activeTexture(n.TEXTURE0),n.uniform1i(r.rowSize,t?this.layers.length*a:0),n.uniform1i(r.tall,i);let o=this.inputs;return this.layers.forEach(({steps:e,groups:t,start:s},c)=>{let l=this.targets[c%2];n.bindFramebuffer(n.FRAMEBUFFER,l.frame),n.bindTexture(n.TEXTURE_2D_ARRAY,o),n.uniform1i(r.steps,e),n.uniform1i(r.isSine,+(c<this.layers.length-1));for(let o=0;o<t;o++)n.bindBufferRange(n.UNIFORM_BUFFER,0,this.buffer,s+o*256*e,this.blockBytes),n.uniform1i(r.bottom,o*i),n.uniform1i(r.first,c*a+o*4),n.viewport(0,o*i,256,i),n.drawArrays(n.TRIANGLES,0,3);o=l.texture}),this.targets[(this.layers.length-1)%2]}read(e,t,n){let{gl:r}=this,{channels:i}=this.weights.network,a=Math.ceil(t/256),o=new Float32Array(1024*a);r.bindFramebuffer(r.FRAMEBUFFER,e.frame);for(let e=0;e<i;e+=4){r.readBuffer(r.COLOR_ATTACHMENT0+(e>>2&3)),r.readPixels(0,Math.floor(e/16)*a,256,a,r.RGBA,r.FLOAT,o);let s=Math.min(4,i-e);for(let r=0;r<t;r++)for(let t=0;t<s;t++)n[r*i+e+t]=o[4*r+t]}}flat(){let{gl:e}=this,t=e.createTexture();return e.bindTexture(e.TEXTURE_2D,t),y(e,e.TEXTURE_2D),t}array(e,t,n){let{gl:r}=this,i=r.createTexture();return r.bindTexture(r.TEXTURE_2D_ARRAY,i),r.texStorage3D(r.TEXTURE_2D_ARRAY,1,r.RGBA32F,e,t,n),y(r,r.TEXTURE_2D_ARRAY),i}target(e){let{gl:n}=this,r=this.array(256,e,4),i=n.createFramebuffer();n.bindFramebuffer(n.FRAMEBUFFER,i);let a=[0,1,2,3].map(e=>n.COLOR_ATTACHMENT0+e);if(a.forEach((e,t)=>n.framebufferTextureLayer(n.FRAMEBUFFER,e,r,0,t)),n.drawBuffers(a),n.checkFramebufferStatus(n.FRAMEBUFFER)!==n.FRAMEBUFFER_COMPLETE)throw new t(`WebGL2 cannot draw to four float32 targets here`);return{texture:r,frame:i}}};function y(e,t){e.texParameteri(t,e.TEXTURE_MIN_FILTER,e.NEAREST),e.texParameteri(t,e.TEXTURE_MAG_FILTER,e.NEAREST)}function b(e,t){let n=d(e).map(e=>({...e,steps:Math.ceil(e.fanIn/4),groups:Math.ceil(e.fanOut/16)})),r=n.reduce((e,{steps:t,groups:n})=>e+n*t*64,0),i=new Float32Array(r+t*16),a=[],o=0;for(let{kernel:e,fanIn:t,fanOut:r,factor:s,steps:c,groups:l}of n){a.push({steps:c,groups:l,start:4*o});for(let n=0;n<t;n++)for(let t=0;t<r;t++){let a=(Math.floor(t/16)*c+(n>>2))*4+(t%16>>2);i[o+a*16+(n&3)*4+(t&3)]=e[n*r+t]*s}o+=l*c*64}return{packed:i,layers:a}}const x=(e,t)=>e*Math.ceil(t/e),[S,C,w]=[2**16,2**24,2**22],T=`
struct Layer {
  inputs: u32,    // filled up to a multiple of 16
  outputs: u32,   // by fours, filled up to a multiple of 64
  kernel: u32,    // where the kernel begins, by fours
  offsets: u32,   // where the layer begins in a row of offsets, by fours
  rowSize: u32,   // offsets of one row of shifts, by fours
  points: u32,    // points of a row of hidden values, by fours
  isSine: u32,
}
@group(0) @binding(0) var<uniform> layer: Layer;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;
@group(0) @binding(2) var<storage, read> kernels: array<vec4f>;
@group(0) @binding(3) var<storage, read> offsets: array<vec4f>;
@group(0) @binding(4) var<storage, read> rows: array<vec4u>;
@group(0) @binding(5) var<storage, read_write> found: array<vec4f>;

var<workgroup> hidden: array<vec4f, 256>;  // (input, 16 times four points)
var<workgroup> kernel: array<vec4f, 256>;  // (input, 16 times four outputs)
${l}
@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) tile: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) place: u32) {
  let point = tile.x * 16u + id.y;
  let output = tile.y * 16u + id.x;
  var a = vec4f();
  var b = vec4f();
  var c = vec4f();
  var d = vec4f();
  for (var start = 0u; start < layer.inputs; start += 16u) {
    let input = start + place / 16u;
    hidden[place] = source[input * layer.points + tile.x * 16u + place % 16u];
    kernel[place] = kernels[layer.kernel + input * layer.outputs + tile.y * 16u + place % 16u];
    workgroupBarrier();
    for (var k = 0u; k < 256u; k += 16u) {
      let h = hidden[k + id.y];
      let w = kernel[k + id.x];
      a += h.x * w;
      b += h.y * w;
      c += h.z * w;
      d += h.w * w;
    }
    workgroupBarrier();
  }
  let row = rows[point] * layer.rowSize + layer.offsets + output;
  a += offsets[row.x];
  b += offsets[row.y];
  c += offsets[row.z];
  d += offsets[row.w];
  if (layer.isSine != 0u) {
    a = sineOfTurns(a);
    b = sineOfTurns(b);
    c = sineOfTurns(c);
    d = sineOfTurns(d);
  }
  // Four points by four outputs, turned round.
  let t = transpose(mat4x4f(a, b, c, d));
  let to = 4u * output * layer.points + point;
  found[to] = t[0];
  found[to + layer.points] = t[1];
  found[to + 2u * layer.points] = t[2];
  found[to + 3u * layer.points] = t[3];
}`;var E=class e{weights;device;pipeline;name;outputs;padded;most;buffers;groups=[];offsetNumbers=0;offsets=null;lost=``;constructor(e,t,n,r,i,a,o,s){this.weights=e,this.device=t,this.pipeline=n,this.name=r,this.outputs=i,this.padded=a,this.most=o,this.buffers=s,t.lost.then(({message:e})=>this.lost=e||`no reason given`)}static async create(n,r){let i=await globalThis.navigator?.gpu?.requestAdapter({powerPreference:`high-performance`});if(!i)throw new t(`there is no WebGPU`);let{info:a}=i;if(a?.isFallbackAdapter&&!r)throw new t(`WebGPU is emulated by the CPU here`);let o=await i.requestDevice(),s=d(n).map(e=>({...e,inputs:D(16,e.fanIn),outputs:D(64,e.fanOut)})),c=Math.max(...s.map(({outputs:e})=>e)),l=64*Math.max(1,Math.min(S/64,Math.floor(C/c/64))),u=new Float32Array(s.reduce((e,{inputs:t,outputs:n})=>e+t*n,0)),f=new Uint32Array(s.length*256/4),p=0;if(s.forEach(({kernel:e,fanIn:t,fanOut:n,factor:r,inputs:i,outputs:a},o)=>{for(let i=0;i<t;i++)for(let t=0;t<n;t++)u[p+i*a+t]=r*e[i*n+t];let d=+(o<s.length-1),m=[i,a/4,p/4,o*c/4,s.length*c/4,l/4,d];f.set(m,o*256/4),p+=i*a}),Math.max(4*l*c,u.byteLength,4*w)>o.limits.maxStorageBufferBindingSize)throw new t(`WebGPU has too small buffers for this network here`);let m=o.createShaderModule({code:T}),h=await o.createComputePipelineAsync({layout:`auto`,compute:{module:m,entryPoint:`main`}}),{STORAGE:g,UNIFORM:_,COPY_DST:v,COPY_SRC:y,MAP_READ:b}=GPUBufferUsage,x=(e,t)=>o.createBuffer({size:e,usage:t}),E={layers:x(f.byteLength,_|v),kernels:x(u.byteLength,g|v),inputs:x(4*l*s[0].inputs,g|v),rows:x(4*l,g|v),hidden:[0,1].map(()=>x(4*l*c,g|y)),found:x(4*l*n.network.channels,b|v)};o.queue.writeBuffer(E.layers,0,f),o.queue.writeBuffer(E.kernels,0,u);let O=a?.description||[a?.vendor,a?.architecture].filter(Boolean).join(` `)||`a graphics card`;return new e(n,o,h,O,s.map(({outputs:e})=>e),c,l,E)}dispose(){this.device.destroy()}async evaluate({shifts:e,inputs:t,rows:n}){let{inputs:r,channels:i,width:a}=this.weights.network,o=t.length/r,s=new Float32Array(o*i),c=this.outputs.length*this.padded,l=this.weights.sine.length*a;for(let r=0;r<o;){let i=n?n[r]:0,a=Math.min(o,r+this.most);if(n)for(;(n[a-1]-i+1)*c>w&&a>r+1;)a=r+(a-r>>1);let u=a-r,d=new Uint32Array(D(64,u));if(n)for(let e=0;e<u;e++)d[e]=n[r+e]-i;let p=d[u-1]+1,m=e.values.subarray(i*l,(i+p)*l);await this.run(t,r,a,d,f(this.weights,{rows:p,values:m},this.padded),s),r=a}return s}async run(e,n,r,i,a,o){let{device:s,buffers:c,most:l}=this,{inputs:u,channels:d}=this.weights.network,f=r-n;if(this.lost)throw new t(`the browser took WebGPU away: ${this.lost}`);this.place(a);let p=new Float32Array(f);for(let t=0;t<u;t++){for(let r=0;r<f;r++)p[r]=e[(n+r)*u+t];s.queue.writeBuffer(c.inputs,4*t*l,p)}s.queue.writeBuffer(c.rows,0,i);let m=s.createCommandEncoder(),h=m.beginComputePass();h.setPipeline(this.pipeline),this.groups.forEach((e,t)=>{h.setBindGroup(0,e),h.dispatchWorkgroups(Math.ceil(f/64),this.outputs[t]/64)}),h.end();let g=c.hidden[(this.outputs.length-1)%2],_=4*D(64,f);for(let e=0;e<d;e++)m.copyBufferToBuffer(g,4*e*l,c.found,e*_,_);s.queue.submit([m.finish()]);try{await c.found.mapAsync(GPUMapMode.READ,0,d*_)}catch(e){throw new t(`the browser took WebGPU away: ${this.lost||String(e)}`)}let v=new Float32Array(c.found.getMappedRange(0,d*_));for(let e=0;e<d;e++){let t=e*_/4;for(let r=0;r<f;r++)o[(n+r)*d+e]=v[t+r]}c.found.unmap()}place(e){let{device:t,buffers:n}=this;if(e.length>this.offsetNumbers){this.offsets?.destroy(),this.offsetNumbers=e.length,this.offsets=t.createBuffer({size:e.byteLength,usage:GPUBufferUsage.STORAGE|GPUBufferUsage.COPY_DST});let r=this.pipeline.getBindGroupLayout(0);this.groups=this.outputs.map((e,i)=>{let a=[{buffer:n.layers,offset:i*256,size:32},{buffer:i?n.hidden[(i-1)%2]:n.inputs},{buffer:n.kernels},{buffer:this.offsets},{buffer:n.rows},{buffer:n.hidden[i%2]}];return t.createBindGroup({layout:r,entries:a.map((e,t)=>({binding:t,resource:e}))})})}t.queue.writeBuffer(this.offsets,0,e)}};const D=(e,t)=>e*Math.ceil(t/e);var O=`data:application/wasm;base64,AGFzbQEAAAABGAJgB39/f39/f38AYAp/f39/f39/f39/AAIPAQNlbnYGbWVtb3J5AgAAAwMCAAEHFQIIZXZhbHVhdGUAAQZtZW1vcnkCAArFFQK5EgILewN/A0AgBCATSgRAIAP9CQIAIgghCSAD/QkCBCIKIQsgA/0JAggiDCENIAP9CQIMIg4hByAAIhIgAUEFdGohFANAIBIgFEkEQCAS/QAEACIQIAL9CQIAIhH95gEgCP3kASEIIBL9AAQQIg8gEf3mASAJ/eQBIQkgECAC/QkCBCIR/eYBIAr95AEhCiAPIBH95gEgC/3kASELIBAgAv0JAggiEf3mASAM/eQBIQwgDyAR/eYBIA395AEhDSAQIAL9CQIMIhD95gEgDv3kASEOIA8gEP3mASAH/eQBIQcgEkEgaiESIAJBEGohAgwBCwsgBgRAIAggCP0Mg/miPoP5oj6D+aI+g/miPv3mAf1qIgj9DAAASUAAAElAAABJQAAASUD95gH95QEgCP0MAKB9OgCgfToAoH06AKB9Ov3mAf3lASAI/QxpISI0aSEiNGkhIjRpISI0/eYB/eUBIg8gD/3mASIQ/Qzl0S425dEuNuXRLjbl0S42/eYB/QxVtk+5VbZPuVW2T7lVtk+5/eQBIBD95gH9DFiHCDxYhwg8WIcIPFiHCDz95AEgEP3mAf0MpaoqvqWqKr6lqiq+paoqvv3kASAQ/eYB/QwAAIA/AACAPwAAgD8AAIA//eQBIA/95gEgCP34AUEf/asB/VEhCCAJIAn9DIP5oj6D+aI+g/miPoP5oj795gH9aiIJ/QwAAElAAABJQAAASUAAAElA/eYB/eUBIAn9DACgfToAoH06AKB9OgCgfTr95gH95QEgCf0MaSEiNGkhIjRpISI0aSEiNP3mAf3lASIPIA/95gEiEP0M5dEuNuXRLjbl0S425dEuNv3mAf0MVbZPuVW2T7lVtk+5VbZPuf3kASAQ/eYB/QxYhwg8WIcIPFiHCDxYhwg8/eQBIBD95gH9DKWqKr6lqiq+paoqvqWqKr795AEgEP3mAf0MAACAPwAAgD8AAIA/AACAP/3kASAP/eYBIAn9+AFBH/2rAf1RIQkgCiAK/QyD+aI+g/miPoP5oj6D+aI+/eYB/WoiCv0MAABJQAAASUAAAElAAABJQP3mAf3lASAK/QwAoH06AKB9OgCgfToAoH06/eYB/eUBIAr9DGkhIjRpISI0aSEiNGkhIjT95gH95QEiDyAP/eYBIhD9DOXRLjbl0S425dEuNuXRLjb95gH9DFW2T7lVtk+5VbZPuVW2T7n95AEgEP3mAf0MWIcIPFiHCDxYhwg8WIcIPP3kASAQ/eYB/Qylqiq+paoqvqWqKr6lqiq+/eQBIBD95gH9DAAAgD8AAIA/AACAPwAAgD/95AEgD/3mASAK/fgBQR/9qwH9USEKIAsgC/0Mg/miPoP5oj6D+aI+g/miPv3mAf1qIgv9DAAASUAAAElAAABJQAAASUD95gH95QEgC/0MAKB9OgCgfToAoH06AKB9Ov3mAf3lASAL/QxpISI0aSEiNGkhIjRpISI0/eYB/eUBIg8gD/3mASIQ/Qzl0S425dEuNuXRLjbl0S42/eYB/QxVtk+5VbZPuVW2T7lVtk+5/eQBIBD95gH9DFiHCDxYhwg8WIcIPFiHCDz95AEgEP3mAf0MpaoqvqWqKr6lqiq+paoqvv3kASAQ/eYB/QwAAIA/AACAPwAAgD8AAIA//eQBIA/95gEgC/34AUEf/asB/VEhCyAMIAz9DIP5oj6D+aI+g/miPoP5oj795gH9aiIM/QwAAElAAABJQAAASUAAAElA/eYB/eUBIAz9DACgfToAoH06AKB9OgCgfTr95gH95QEgDP0MaSEiNGkhIjRpISI0aSEiNP3mAf3lASIPIA/95gEiEP0M5dEuNuXRLjbl0S425dEuNv3mAf0MVbZPuVW2T7lVtk+5VbZPuf3kASAQ/eYB/QxYhwg8WIcIPFiHCDxYhwg8/eQBIBD95gH9DKWqKr6lqiq+paoqvqWqKr795AEgEP3mAf0MAACAPwAAgD8AAIA/AACAP/3kASAP/eYBIAz9+AFBH/2rAf1RIQwgDSAN/QyD+aI+g/miPoP5oj6D+aI+/eYB/WoiDf0MAABJQAAASUAAAElAAABJQP3mAf3lASAN/QwAoH06AKB9OgCgfToAoH06/eYB/eUBIA39DGkhIjRpISI0aSEiNGkhIjT95gH95QEiDyAP/eYBIhD9DOXRLjbl0S425dEuNuXRLjb95gH9DFW2T7lVtk+5VbZPuVW2T7n95AEgEP3mAf0MWIcIPFiHCDxYhwg8WIcIPP3kASAQ/eYB/Qylqiq+paoqvqWqKr6lqiq+/eQBIBD95gH9DAAAgD8AAIA/AACAPwAAgD/95AEgD/3mASAN/fgBQR/9qwH9USENIA4gDv0Mg/miPoP5oj6D+aI+g/miPv3mAf1qIg79DAAASUAAAElAAABJQAAASUD95gH95QEgDv0MAKB9OgCgfToAoH06AKB9Ov3mAf3lASAO/QxpISI0aSEiNGkhIjRpISI0/eYB/eUBIg8gD/3mASIQ/Qzl0S425dEuNuXRLjbl0S42/eYB/QxVtk+5VbZPuVW2T7lVtk+5/eQBIBD95gH9DFiHCDxYhwg8WIcIPFiHCDz95AEgEP3mAf0MpaoqvqWqKr6lqiq+paoqvv3kASAQ/eYB/QwAAIA/AACAPwAAgD8AAIA//eQBIA/95gEgDv34AUEf/asB/VEhDiAHIAf9DIP5oj6D+aI+g/miPoP5oj795gH9aiIH/QwAAElAAABJQAAASUAAAElA/eYB/eUBIAf9DACgfToAoH06AKB9OgCgfTr95gH95QEgB/0MaSEiNGkhIjRpISI0aSEiNP3mAf3lASIPIA/95gEiEP0M5dEuNuXRLjbl0S425dEuNv3mAf0MVbZPuVW2T7lVtk+5VbZPuf3kASAQ/eYB/QxYhwg8WIcIPFiHCDxYhwg8/eQBIBD95gH9DKWqKr6lqiq+paoqvqWqKr795AEgEP3mAf0MAACAPwAAgD8AAIA/AACAP/3kASAP/eYBIAf9+AFBH/2rAf1RIQcLIAUgCP0LBAAgBSAJ/QsEECAFIAr9CwQgIAUgC/0LBDAgBSAM/QsEQCAFIA39CwRQIAUgDv0LBGAgBSAH/QsEcCAFQYABaiEFIANBEGohAyATQQRqIRMMAQsLC4cDAQx/IAJBA2pBfHEiFCAEQQNqQXxxIhIgEiAUSBsiCiABIAEgCkgbIRADQCAAIBVKBEBBCCAAIBVrIgogCkEIShshESAJIgogEEEFdGohDEEAIQ4DQCAOQQhIBEAgByAVIA4gEUEBayILIAsgDkobaiABbEECdGohC0EAIQ0DQCABIA1KBEAgCiANQQV0aiAOQQJ0aiALIA1BAnRqKgIAOAIAIA1BAWohDQwBCwsgDkEBaiEODAELCyAFIQ8gBiEOIAEhDUEAIRMDQCADIBNKBEAgCiANIA8gDiAUIAxBARAAIA8gDSAUbEECdGohDyAOIBRBAnRqIQ4gAiENIAogDCEKIQwgE0EBaiETDAELCyAKIA0gDyAOIBIgDEEAEABBACEKA0AgCiARSARAIAggCiAVaiAEbEECdGohC0EAIQ4DQCAEIA5KBEAgCyAOQQJ0aiAMIA5BBXRqIApBAnRqKgIAOAIAIA5BAWohDgwBCwsgCkEBaiEKDAELCyAVQQhqIRUMAQsLCw==`;const k=65536;var A=class{weights;memory;exports;places;paddedWidth;biases;constructor(e){this.weights=e;let{width:t,inputs:n,channels:r,w0:i}=e.network,a=M(e);this.paddedWidth=j(t);let o=e.sine.length,s=o*this.paddedWidth+j(r),c=Math.max(this.paddedWidth,j(r),n),l=j(256+a.length+s);this.places={weights:256,biases:256+a.length,scratch:l,free:l+2*c*8},this.memory=new WebAssembly.Memory({initial:Math.ceil(4*this.places.free/k)});let u=new WebAssembly.Module(N(O));this.exports=new WebAssembly.Instance(u,{env:{memory:this.memory}}).exports;let d=new Float32Array(this.memory.buffer);d.set(a,this.places.weights),d.set(e.last.bias,this.places.biases+o*this.paddedWidth),this.biases=Float32Array.from(e.sine.flatMap(({bias:e})=>Array.from(e,e=>i*e)))}evaluate({shifts:e,inputs:t,rows:n}){let{width:r,w0:i,channels:a,inputs:o}=this.weights.network,s=this.weights.sine.length,c=t.length/o,{weights:l,biases:u,scratch:d,free:f}=this.places,p=j(f+t.length),m=4*(p+c*a);m>this.memory.buffer.byteLength&&this.memory.grow(Math.ceil((m-this.memory.buffer.byteLength)/k));let h=new Float32Array(this.memory.buffer);h.set(t,f);for(let t=0;t<c;){let m=n?n[t]:0,g=n?t+1:c;for(;n&&g<c&&n[g]===m;)g++;for(let t=0;t<s;t++){let n=u+t*this.paddedWidth,a=(m*s+t)*r;for(let o=0;o<r;o++)h[n+o]=this.biases[t*r+o]+i*e.values[a+o]}this.exports.evaluate(g-t,o,r,s,a,4*l,4*u,4*(f+t*o),4*(p+t*a),4*d),t=g}return h.slice(p,p+c*a)}};const j=e=>4*Math.ceil(e/4);function M({network:e,sine:t,last:n}){let{inputs:r,width:i,channels:a,w0:o}=e,s=[...t.map(({kernel:e},t)=>({kernel:e,fanIn:t?i:r,fanOut:i,factor:o})),{kernel:n.kernel,fanIn:i,fanOut:a,factor:1}],c=new Float32Array(s.reduce((e,{fanIn:t,fanOut:n})=>e+t*j(n),0)),l=0;for(let{kernel:e,fanIn:t,fanOut:n,factor:r}of s)for(let i=0;i<n;i+=4)for(let a=0;a<t;a++){for(let t=0;t<Math.min(4,n-i);t++)c[l+t]=r*e[a*n+i+t];l+=4}return c}function N(e){return Uint8Array.from(atob(e.slice(e.indexOf(`,`)+1)),e=>e.charCodeAt(0))}async function P({renderer:e,weights:t,allowSoftware:r}){switch(e){case`webgpu`:return E.create(t,r);case`webgl2`:return new v(t,r);case`wasm`:return F(t);case`js`:return{name:`JavaScript`,evaluate:e=>n(t,e),dispose:()=>void 0}}}function F(e){try{let t=new A(e);return{name:`WebAssembly`,evaluate:e=>t.evaluate(e),dispose:()=>void 0}}catch(e){throw new t(`there is no WebAssembly with SIMD: ${String(e)}`)}}let I,L=Promise.resolve();const R=globalThis,z=(e,t=[])=>R.postMessage(e,t),B=e=>e instanceof Error?e.message:String(e);async function V(e){try{I=await P(e),z({ready:I.name})}catch(e){z({refused:B(e)})}}async function H(e,t){try{let n=performance.now(),r=await I.evaluate(t);z({number:e,numbers:r,milliseconds:performance.now()-n},[r.buffer])}catch(t){z({number:e,error:B(t)})}}R.onmessage=({data:e})=>{L=L.then(()=>`start`in e?V(e.start):H(e.number,e.job))};