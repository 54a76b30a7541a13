// Tones and voice for every page: clips are decoded once, and what is newer cuts off what is older.
"use strict";
const sound = (() => {
  const context = "AudioContext" in window ? new AudioContext() : null;
  const clips = new Map();
  let playing = [];
  let turn = 0;
  async function clip(url) {
    if (!clips.has(url)) {
      const answer = await fetch(url);
      clips.set(url, answer.status === 200 ? await context.decodeAudioData(await answer.arrayBuffer()) : null);
    }
    return clips.get(url);
  }
  async function play(urls, volume) {
    if (!context) return;
    const mine = ++turn;
    playing.forEach((source) => source.stop());
    playing = [];
    const found = await Promise.all(urls.map((url) => clip(url).catch(() => null)));
    if (mine !== turn) return;
    await context.resume();
    let at = context.currentTime;
    for (const buffer of found.filter(Boolean)) {
      const source = new AudioBufferSourceNode(context, { buffer });
      source.connect(new GainNode(context, { gain: volume })).connect(context.destination);
      source.start(at);
      playing.push(source);
      at += buffer.duration + 0.05;
    }
  }
  // what an event of the kiosk says is to be heard; "heard" is its key, so that a repeated state stays silent
  let heard = null; // null: nothing yet, so that a page that opens in the middle of a verdict stays silent
  function follow({ key, tone, clip: words, volume_percent }) {
    if (heard !== key && heard !== null && tone) {
      play([`/tone/${tone}.wav`, words && `/voice/${words}.wav`].filter(Boolean), volume_percent / 100);
    }
    heard = key;
  }
  return { play, follow, ready: (url) => context && clip(url).catch(() => null) };
})();
