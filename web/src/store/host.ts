/** Requests to a static host: whole objects and closed ranges, repeated when the host or the line fails. */

import { StoreError } from "./errors";
import type { Progress } from "./functaset";

/** An object that the host does not have. */
export class NotFoundError extends StoreError {
  override name = "NotFoundError";
}

/** A failure after which the same request may succeed. */
class PassingError extends Error {
  constructor(
    message: string,
    readonly wait: number | null = null,
  ) {
    super(message);
  }
}

const ATTEMPTS = 5;
const FIRST_WAIT = 0.5;
const LONGEST_WAIT = 20;
/** Seconds without a byte after which a request is given up and repeated. */
const PATIENCE = 30;
const REQUESTS_AT_A_TIME = 8;
const MISSING = [403, 404, 410];
const PASSING = [408, 425, 429, 500, 502, 503, 504];
/** Bytes of whole objects that are kept of a host that knows no ranges. */
const MOST_BYTES_KEPT = 64 * 2 ** 20;

export interface HostOptions {
  fetch?: typeof fetch;
  onProgress?: (progress: Progress) => void;
  /** Seconds; shorter ones are for tests. */
  firstWait?: number;
  patience?: number;
}

/** One attempt of a request, which calls `alive` whenever something comes. */
type Attempt = (signal: AbortSignal, alive: () => void) => Promise<Uint8Array>;

/** Objects below an address, each read by one GET: no HEAD, no suffix ranges, no listing. */
export class Host {
  private readonly fetch: typeof fetch;
  private readonly base: URL;
  private received = 0;
  private readonly waiting: (() => void)[] = [];
  private running = 0;
  /** Whole objects of a host that answers ranges with them, the latest last. */
  private readonly kept = new Map<string, Uint8Array>();

  /** @throws StoreError if the address is none of http or https. */
  constructor(
    readonly address: string,
    private readonly options: HostOptions = {},
  ) {
    this.fetch = options.fetch ?? fetch.bind(globalThis);
    try {
      this.base = new URL(address, globalThis.location?.href);
    } catch {
      throw new StoreError(`${address}: no address; expected one such as https://example.org/pets.functa.`);
    }
    if (!["http:", "https:"].includes(this.base.protocol)) {
      throw new StoreError(`${address}: found ${this.base.protocol}//, expected http:// or https://.`);
    }
    this.base.hash = "";
  }

  get bytesFetched(): number {
    return this.received;
  }

  /** The address of an object; a query, as presigned addresses have, stays behind it. */
  urlOf(key: string): string {
    const url = new URL(this.base);
    const encoded = key.split("/").map(encodeURIComponent).join("/");
    url.pathname = `${url.pathname.replace(/\/+$/, "")}${encoded.startsWith(WORK) ? "" : "/"}${encoded}`;
    return url.href;
  }

  /**
   * All bytes of an object.
   *
   * @param fresh Ask the host whether a copy in the browser's cache is the latest.
   * @throws NotFoundError if the host does not have it.
   * @throws StoreError if it is longer than `most` bytes, or the host fails again and again.
   */
  async whole(key: string, most: number, signal?: AbortSignal, fresh = false): Promise<Uint8Array> {
    return this.persist(key, signal, async (inner, alive) => {
      const response = await this.fetch(this.urlOf(key), { signal: inner, cache: fresh ? "no-cache" : "default" });
      this.check(key, response);
      return this.read(key, response, most, alive);
    });
  }

  /**
   * A closed range of an object.
   *
   * Where a host answers with the whole object, that is kept, and further ranges are taken from it.
   *
   * @param size Bytes of the whole object.
   */
  async range(key: string, start: number, length: number, size: number, signal?: AbortSignal): Promise<Uint8Array> {
    const kept = this.kept.get(key);
    if (kept) return kept.slice(start, start + length);
    return this.persist(key, signal, async (inner, alive) => {
      const response = await this.fetch(this.urlOf(key), {
        signal: inner,
        headers: { Range: `bytes=${start}-${start + length - 1}` },
      });
      if (response.status === 416) {
        throw new StoreError(`${this.address}/${key}: shorter than the ${size} bytes expected. Copy the store again.`);
      }
      this.check(key, response);
      if (response.status === 206) {
        const found = await this.read(key, response, length, alive);
        if (found.length !== length) throw new PassingError(`${found.length} bytes came of ${length}`);
        return found;
      }
      // The host knows no ranges: its answer is the whole object.
      const keeps = size <= MOST_BYTES_KEPT;
      const found = await this.read(key, response, size, alive, keeps ? undefined : start + length);
      if (keeps && found.length !== size) throw new PassingError(`${found.length} bytes came of ${size}`);
      if (found.length < start + length) throw new PassingError(`${found.length} bytes came of ${start + length}`);
      if (keeps) this.keep(key, found);
      return found.slice(start, start + length);
    });
  }

  private keep(key: string, bytes: Uint8Array): void {
    this.kept.set(key, bytes);
    let total = 0;
    for (const [name, held] of [...this.kept].reverse()) {
      total += held.length;
      if (total > MOST_BYTES_KEPT) this.kept.delete(name);
    }
  }

  private check(key: string, response: Response): void {
    if (response.status === 200 || response.status === 206) return;
    const found = `${this.address}/${key}: the host answered ${response.status} ${response.statusText}`.trim();
    void response.body?.cancel().catch(() => undefined);
    if (MISSING.includes(response.status)) throw new NotFoundError(`${found}; check the address.`);
    if (PASSING.includes(response.status)) {
      const wait = Number(response.headers.get("Retry-After") ?? NaN);
      throw new PassingError(`the host answered ${response.status}`, Number.isFinite(wait) && wait >= 0 ? wait : null);
    }
    throw new StoreError(`${found}, expected 200 or 206.`);
  }

  /** The body of an answer, up to `most` bytes, of which the first `enough` are read. */
  private async read(
    key: string,
    response: Response,
    most: number,
    alive: () => void,
    enough = Infinity,
  ): Promise<Uint8Array> {
    const tooLong = (found: string): StoreError =>
      new StoreError(`${this.address}/${key}: found ${found} bytes, expected at most ${most}. Copy the store again.`);
    const header = response.headers.get("Content-Length");
    const declared = header === null || response.headers.get("Content-Encoding") ? null : Number(header);
    if (declared !== null && declared > most) {
      void response.body?.cancel().catch(() => undefined);
      throw tooLong(String(declared));
    }
    const pieces: Uint8Array[] = [];
    let total = 0;
    const reader = response.body?.getReader();
    while (reader && total < enough) {
      const { done, value } = await reader.read();
      if (done) break;
      alive();
      total += value.length;
      this.received += value.length;
      if (total > most) {
        void reader.cancel().catch(() => undefined);
        throw tooLong(`more than ${most}`);
      }
      pieces.push(value);
      this.options.onProgress?.({ kind: "bytes", key, bytes: value.length });
    }
    if (total >= enough) void reader?.cancel().catch(() => undefined);
    const found = new Uint8Array(total);
    let at = 0;
    for (const piece of pieces) {
      found.set(piece, at);
      at += piece.length;
    }
    return found;
  }

  /** Make a request, and tell of it. */
  private async persist(key: string, signal: AbortSignal | undefined, request: Attempt): Promise<Uint8Array> {
    this.options.onProgress?.({ kind: "request", key });
    try {
      const found = await this.repeat(key, signal, request);
      this.options.onProgress?.({ kind: "done", key });
      return found;
    } catch (error) {
      this.options.onProgress?.({ kind: "failed", key });
      throw error;
    }
  }

  /** Repeat a request until it succeeds, is refused for good, or has failed too often. */
  private async repeat(key: string, signal: AbortSignal | undefined, request: Attempt): Promise<Uint8Array> {
    for (let attempt = 1; ; attempt++) {
      signal?.throwIfAborted();
      await this.enter();
      const stop = new AbortController();
      const abort = (): void => stop.abort(signal?.reason);
      signal?.addEventListener("abort", abort, { once: true });
      let isStalled = false;
      let timer: ReturnType<typeof setTimeout> | undefined;
      const alive = (): void => {
        clearTimeout(timer);
        timer = setTimeout(() => {
          isStalled = true;
          stop.abort();
        }, 1000 * (this.options.patience ?? PATIENCE));
      };
      let reason: PassingError;
      try {
        alive();
        return await request(stop.signal, alive);
      } catch (error) {
        if (error instanceof StoreError) throw error;
        signal?.throwIfAborted();
        if (error instanceof PassingError) reason = error;
        else if (isStalled) reason = new PassingError("nothing came for some time");
        else reason = new PassingError(`the host cannot be reached (${(error as Error).message})`);
      } finally {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        this.leave();
      }
      if (attempt === ATTEMPTS) {
        throw new StoreError(
          `${this.address}/${key}: failed ${ATTEMPTS} times: ${reason.message}. Check the address and the connection, ` +
            "and that the host lets other pages read it (the header Access-Control-Allow-Origin).",
        );
      }
      const seconds = Math.min(reason.wait ?? (this.options.firstWait ?? FIRST_WAIT) * 2 ** (attempt - 1), LONGEST_WAIT);
      this.options.onProgress?.({ kind: "retry", key, seconds, reason: reason.message });
      await pause(seconds, signal);
    }
  }

  private async enter(): Promise<void> {
    while (this.running >= REQUESTS_AT_A_TIME) await new Promise<void>((go) => this.waiting.push(go));
    this.running++;
  }

  private leave(): void {
    this.running--;
    this.waiting.shift()?.();
  }
}

/** How the keys of the folder beside an unfinished store begin. */
export const WORK = ".work/";

function pause(seconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, 1000 * seconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** A result that several callers wait for, each of whom may stop waiting; what is computed goes on. */
export function unlessAborted<T>(shared: Promise<T>, signal?: AbortSignal): Promise<T> {
  if (!signal) return shared;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    shared.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
