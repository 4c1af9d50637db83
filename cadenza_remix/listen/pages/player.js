/**
 * The gapless player: all loaded versions of one passage run at once, started on one sample grid, and only gains decide
 * which of them is heard. So a switch keeps the sample position, and nothing has to be started or found at that moment.
 *
 * Times that callers see are seconds; inside, everything is whole frames of the context, so that no rounding adds up.
 * It takes any BaseAudioContext: a test renders it in an OfflineAudioContext.
 */

/** Length of the cross-fade between two versions, centred on the time of switching. */
export const FADE_S = 0.005;

/** How far ahead of its clock a running context is scheduled: a few render quanta, so that nothing comes too late. */
const LEAD_S = 0.02;

/** The shortest region that is worth looping. */
export const SHORTEST_LOOP_S = 0.05;

/** A context at the rate of the clips, so that the browser has nothing to resample. */
export function createContext(sampleRate = 44100) {
  return new AudioContext({ sampleRate, latencyHint: "interactive" });
}

/** The bytes of a file. Errors carry the `status` of the answer, 0 where none came or not all of it. */
async function fetched(url, options) {
  try {
    const response = await fetch(url, options);
    if (response.ok) return await response.arrayBuffer();
    throw Object.assign(new Error(`the server answered ${response.status} for the sound`), { status: response.status });
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw Object.assign(new Error("the sound did not come"), { status: 0 });
  }
}

/** The samples of a file: its errors are those of `fetched`, and one without a `status` where it is no sound. */
async function decoded(context, url, options) {
  const bytes = await fetched(url, options);
  try {
    return await context.decodeAudioData(bytes);
  } catch {
    throw new Error("the sound cannot be decoded");
  }
}

/** One version: its samples, and the gains that belong to it for as long as it is loaded. */
class Voice {
  constructor(context, buffer, scale, gain, output) {
    this.buffer = buffer;
    this.scale = scale;
    this.level = new GainNode(context, { gain: scale * gain });
    this.selector = new GainNode(context, { gain: 0 });
    this.level.connect(this.selector).connect(output);
  }

  disconnect() {
    this.level.disconnect();
    this.selector.disconnect();
  }
}

export class Player {
  #context;
  #voices = new Map();
  #loading = new Map();
  #take = null;
  #restFrame = 0;
  #loop = null;
  #selected = null;
  #lastFadeEnd = 0;
  #volume;

  /** @param {BaseAudioContext} context  @param {AudioNode} [destination] where the sound goes, else the context's own */
  constructor(context, destination = context.destination) {
    this.#context = context;
    this.#volume = new GainNode(context);
    this.#volume.connect(destination);
    /** Called with "load", "select", "play", "pause", "seek", "loop", "end" or "volume" after each change. */
    this.onchange = null;
  }

  get context() {
    return this.#context;
  }

  /** The last node: meters are connected here. */
  get output() {
    return this.#volume;
  }

  get playing() {
    return this.#take !== null;
  }

  /** Whether the browser or the system holds all sound back: before a first click, during a call. Time stands still. */
  get isHeld() {
    return this.#context.state !== "running" && !this.#isOffline();
  }

  get selected() {
    return this.#selected;
  }

  get volume() {
    return this.#volume.gain.value;
  }

  /** Seconds of the longest loaded version. */
  get duration() {
    return this.#endFrame() / this.#context.sampleRate;
  }

  /** {start_s, end_s} or null. */
  get loop() {
    const rate = this.#context.sampleRate;
    return this.#loop && { start_s: this.#loop.start / rate, end_s: this.#loop.end / rate };
  }

  /** Seconds into the passage at the context's present time. */
  get position() {
    return this.positionAt(this.#context.currentTime);
  }

  /** Seconds into the passage at a time of the context. */
  positionAt(time_s) {
    return this.#frameAt(this.#frames(time_s)) / this.#context.sampleRate;
  }

  has(id) {
    return this.#voices.has(id);
  }

  get ids() {
    return [...this.#voices.keys()];
  }

  buffer(id) {
    return this.#voices.get(id)?.buffer ?? null;
  }

  /**
   * Fetch and decode a version. One of that name is replaced in place, at the same position, while it plays.
   * A later call for the same name wins over one that is still under way, which then gives false. `isFresh`: not as the
   * browser may have kept it.
   */
  async load(id, url, { gain = 1, scale = 1, signal = undefined, isFresh = false } = {}) {
    const ticket = Symbol(id);
    this.#loading.set(id, ticket);
    try {
      const buffer = await decoded(this.#context, url, { signal, cache: isFresh ? "reload" : "default" });
      // Decoding cannot be stopped: what was dropped in the meantime must not be taken for what was asked for since.
      if (signal?.aborted || this.#loading.get(id) !== ticket) return false;
      this.add(id, buffer, { gain, scale });
      return true;
    } finally {
      if (this.#loading.get(id) === ticket) this.#loading.delete(id);
    }
  }

  /** Take a version whose samples are there already. */
  add(id, buffer, { gain = 1, scale = 1 } = {}) {
    const voice = new Voice(this.#context, buffer, scale, gain, this.#volume);
    const former = this.#voices.get(id);
    this.#voices.set(id, voice);
    if (this.#take) this.#join(voice);
    if (this.#selected === null) this.#selected = id;
    // The new voice has joined by then: its samples are there from the first of the fade on.
    if (this.#selected === id) this.#fade(former ?? null, voice, this.#soon() + this.#frames(FADE_S));
    if (former) this.#retire(former);
    this.#changed("load");
  }

  /** Forget a version that is not selected. */
  unload(id) {
    const voice = this.#voices.get(id);
    this.#loading.delete(id);
    if (!voice || id === this.#selected) return;
    this.#voices.delete(id);
    this.#retire(voice);
  }

  /** Stop and forget everything, for another passage. */
  clear() {
    this.pause();
    this.#loading.clear();
    for (const voice of this.#voices.values()) this.#retire(voice);
    this.#voices.clear();
    this.#selected = null;
    this.#loop = null;
    this.#restFrame = 0;
    this.#changed("load");
  }

  /** Hear another version from `when` (seconds of the context) on: a cross-fade of 5 ms has its middle there. */
  select(id, when = undefined) {
    const voice = this.#voices.get(id);
    if (!voice) throw new Error(`no version ${id} is loaded; loaded are ${this.ids.join(", ") || "none"}`);
    if (id === this.#selected) return;
    const former = this.#voices.get(this.#selected) ?? null;
    this.#selected = id;
    this.#fade(former, voice, when === undefined ? this.#soon() : this.#frames(when));
    this.#changed("select");
  }

  /** Start where it rests. Gives the promise of the context's own start, which a browser may hold until a click. */
  play(when = undefined) {
    if (this.#voices.size === 0) return Promise.resolve();
    if (!this.#take) {
      const frame = when === undefined ? this.#soon() : this.#frames(when);
      if (this.#restFrame >= this.#endFrame()) this.#restFrame = 0;
      this.#begin(frame, this.#restFrame, true);
      this.#changed("play");
    }
    // The clock of a suspended context stands still, so what was scheduled above is still in time when it starts.
    return this.isHeld ? this.#context.resume() : Promise.resolve();
  }

  pause() {
    if (!this.#take) return;
    const frame = this.#soon();
    this.#restFrame = this.#frameAt(frame);
    this.#end(frame, true);
    this.#changed("pause");
  }

  /** What plays but is held back goes on: nobody wants to pause what cannot be heard. Gives the promise of `play`. */
  toggle() {
    if (!this.playing || this.isHeld) return this.play();
    this.pause();
    return Promise.resolve();
  }

  seek(seconds) {
    const target = Math.min(Math.max(0, this.#frames(seconds)), Math.max(0, this.#endFrame() - 1));
    if (this.#take) this.#jump(target);
    else this.#restFrame = target;
    this.#changed("seek");
  }

  /** Loop a region. While it plays, the position goes on; beyond the region's end, it goes to its start. */
  setLoop(start_s, end_s) {
    const start = Math.max(0, this.#frames(start_s));
    const end = Math.min(this.#endFrame(), this.#frames(end_s));
    if (!(end - start >= this.#frames(SHORTEST_LOOP_S))) {
      throw new RangeError(`a loop takes at least ${SHORTEST_LOOP_S} s, not ${start_s} to ${end_s} s`);
    }
    this.#setLoop({ start, end });
  }

  clearLoop() {
    if (this.#loop) this.#setLoop(null);
  }

  /** The linear gain of a version beside its scale; `when` in seconds of the context. */
  setGain(id, lin, when = undefined) {
    const voice = this.#voices.get(id);
    if (!voice) return;
    this.#ramp(voice.level.gain, voice.scale * lin, when);
  }

  setVolume(lin) {
    this.#ramp(this.#volume.gain, Math.min(1, Math.max(0, lin)));
    this.#changed("volume");
  }

  #changed(what) {
    this.onchange?.(what);
  }

  #frames(seconds) {
    return Math.round(seconds * this.#context.sampleRate);
  }

  #seconds(frames) {
    return frames / this.#context.sampleRate;
  }

  #isOffline() {
    return typeof OfflineAudioContext !== "undefined" && this.#context instanceof OfflineAudioContext;
  }

  /** The first frame that can still be scheduled. An offline context waits for us, so it needs no lead. */
  #soon() {
    return this.#frames(this.#context.currentTime + (this.#isOffline() ? 0 : LEAD_S));
  }

  #endFrame() {
    let end = 0;
    for (const { buffer } of this.#voices.values()) end = Math.max(end, buffer.length);
    return end;
  }

  /** The frame of the passage that sounds at a frame of the context. */
  #frameAt(frame) {
    const take = this.#take;
    if (!take) return this.#restFrame;
    const straight = take.offset + Math.max(0, frame - take.frame);
    if (!take.loop) return Math.min(straight, this.#endFrame());
    const { start, end } = take.loop;
    return straight < end ? straight : start + ((straight - end) % (end - start));
  }

  /** All versions from one frame of the context on: what runs together is a take. */
  #begin(frame, offset, isFaded) {
    const loop = this.#loop;
    const from = loop && offset >= loop.end ? loop.start : offset;
    this.#take = { frame, offset: from, loop, sources: new Map() };
    for (const voice of this.#voices.values()) this.#start(voice, frame, from, isFaded);
  }

  #start(voice, frame, offset, isFaded) {
    const take = this.#take;
    const source = new AudioBufferSourceNode(this.#context, { buffer: voice.buffer });
    const fade = new GainNode(this.#context, { gain: isFaded ? 0 : 1 });
    if (take.loop) {
      source.loop = true;
      source.loopStart = this.#seconds(take.loop.start);
      source.loopEnd = this.#seconds(take.loop.end);
    }
    if (isFaded) this.#line(fade.gain, 0, 1, frame, frame + this.#frames(FADE_S));
    source.connect(fade).connect(voice.level);
    source.onended = () => this.#ended(take, fade);
    source.start(this.#seconds(frame), this.#seconds(Math.min(offset, voice.buffer.length)));
    take.sources.set(voice, { source, fade });
  }

  /** A version that came late starts at the frame that the others have reached by then. */
  #join(voice) {
    const frame = Math.max(this.#take.frame, this.#soon());
    this.#start(voice, frame, this.#frameAt(frame), false);
  }

  #end(frame, isFaded) {
    const take = this.#take;
    this.#take = null;
    for (const { source, fade } of take.sources.values()) this.#stop(source, fade, frame, isFaded);
  }

  #stop(source, fade, frame, isFaded) {
    const last = isFaded ? frame + this.#frames(FADE_S) : frame;
    if (isFaded) this.#line(fade.gain, 1, 0, frame, last);
    source.stop(this.#seconds(last));
  }

  /** The end of a source: of the passage, when nobody asked for it. */
  #ended(take, fade) {
    fade.disconnect();
    if (take !== this.#take || take.loop || this.position < this.duration) return;
    this.#take = null;
    this.#restFrame = 0;
    this.#changed("end");
  }

  /** Another position: the take in hand fades out while the next one fades in. */
  #jump(target) {
    const frame = Math.max(this.#soon(), this.#take.frame + this.#frames(FADE_S));
    this.#end(frame, true);
    this.#begin(frame, target, true);
  }

  /** Sources cannot be given another loop all at one sample, so new ones take over exactly where the old ones stop. */
  #setLoop(loop) {
    if (!this.#take) {
      this.#loop = loop;
    } else {
      const frame = Math.max(this.#soon(), this.#take.frame + this.#frames(FADE_S));
      const offset = this.#frameAt(frame);
      const goesOn = !loop || offset < loop.end;
      this.#end(frame, !goesOn);
      this.#loop = loop;
      this.#begin(frame, offset, !goesOn);
    }
    this.#changed("loop");
  }

  /** Cross-fade two voices around a frame. A switch that comes during another one waits for its end. */
  #fade(from, to, middle) {
    const length = this.#frames(FADE_S);
    const start = Math.max(0, this.#lastFadeEnd, middle - Math.floor(length / 2));
    const isSilent = !this.#take || !from;
    const end = isSilent ? start : start + length;
    if (from) this.#line(from.selector.gain, 1, 0, start, end);
    this.#line(to.selector.gain, 0, 1, start, end);
    this.#lastFadeEnd = end;
  }

  #line(param, from, to, start, end) {
    if (end > start) {
      param.setValueAtTime(from, this.#seconds(start));
      param.linearRampToValueAtTime(to, this.#seconds(end));
    } else {
      param.setValueAtTime(to, this.#seconds(start));
    }
  }

  /** A change of level that does not click. */
  #ramp(param, value, when = undefined) {
    if (!this.#take || this.#isOffline()) {
      param.setValueAtTime(value, when ?? this.#context.currentTime);
      return;
    }
    param.setTargetAtTime(value, when ?? this.#context.currentTime, FADE_S);
  }

  /** Let a voice go when it can no longer be heard. */
  #retire(voice) {
    const own = this.#take?.sources.get(voice);
    this.#take?.sources.delete(voice);
    if (own) this.#stop(own.source, own.fade, Math.max(this.#soon(), this.#lastFadeEnd), true);
    setTimeout(() => voice.disconnect(), 200);
  }
}
