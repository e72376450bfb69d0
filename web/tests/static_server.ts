/** A static host for tests: ranges, CORS, and every trouble that hosts make. */

import { createReadStream, statSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

export interface Asked {
  method: string;
  path: string;
  range: string | undefined;
  /** Of the body of the answer. */
  bytes: number;
}

export interface Trouble {
  /** Answer ranges with whole objects. */
  ignoresRanges?: boolean;
  /** Answer so many requests with this status first. */
  failing?: { times: number; status: number };
  /** Cut so many answers short first. */
  cutting?: { times: number };
}

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".css": "text/css",
  ".wasm": "application/wasm",
};

/** Serves folders by their first path segment. */
export class StaticServer {
  readonly asked: Asked[] = [];
  trouble: Trouble = {};
  private readonly server = createServer((request, response) => this.answer(request, response));

  constructor(private readonly folders: Record<string, string>) {}

  async start(): Promise<string> {
    await new Promise<void>((ready) => this.server.listen(0, "127.0.0.1", ready));
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    const closed = new Promise((done) => this.server.close(done));
    this.server.closeAllConnections();
    await closed;
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    const path = decodeURIComponent(new URL(request.url!, "http://localhost").pathname);
    const { range } = request.headers;
    const asking: Asked = { method: request.method!, path, range, bytes: 0 };
    this.asked.push(asking);
    const headers: Record<string, string> = { "Access-Control-Allow-Origin": "*", "Cache-Control": "no-store" };
    if (this.trouble.failing && this.trouble.failing.times-- > 0) {
      response.writeHead(this.trouble.failing.status, headers).end();
      return;
    }
    const [, first, ...rest] = normalize(path).split("/");
    const file = join(this.folders[first!] ?? "/nowhere", ...rest);
    const size = statSync(file, { throwIfNoEntry: false })?.isFile() ? statSync(file).size : null;
    if (size === null || request.method !== "GET") {
      response.writeHead(size === null ? 404 : 405, headers).end();
      return;
    }
    headers["Content-Type"] = TYPES[extname(file)] ?? "application/octet-stream";
    const asked = this.trouble.ignoresRanges ? null : /^bytes=(\d+)-(\d+)$/.exec(range ?? "");
    let [start, end] = asked ? [Number(asked[1]), Math.min(Number(asked[2]), size - 1)] : [0, size - 1];
    if (asked && start >= size) {
      response.writeHead(416, headers).end();
      return;
    }
    if (asked) headers["Content-Range"] = `bytes ${start}-${end}/${size}`;
    headers["Content-Length"] = String(end - start + 1);
    asking.bytes = end - start + 1;
    response.writeHead(asked ? 206 : 200, headers);
    if (size === 0) return void response.end();
    if (this.trouble.cutting && this.trouble.cutting.times-- > 0) {
      response.write(Buffer.alloc(1));
      setTimeout(() => response.destroy(), 20);
      return;
    }
    createReadStream(file, { start, end }).pipe(response);
  }
}
