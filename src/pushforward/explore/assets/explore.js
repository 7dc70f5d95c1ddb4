"use strict";
// What the page does by itself, without asking the server: boxes in plots, moving pictures, copying, searching.
globalThis.explorer = (() => {
  const panelOf = (plot) => {
    const svg = plot.querySelector("svg").getBoundingClientRect();
    const { left, top, width, height } = plot.dataset;
    return {
      left: svg.left + left * svg.width, top: svg.top + top * svg.height,
      width: width * svg.width, height: height * svg.height,
    };
  };
  // A box as shares of the panel: left, right, bottom, top.
  const box = ([left, right, bottom, top]) => {
    for (const plot of document.querySelectorAll(".brushable")) {
      const view = plot.querySelector("svg").viewBox.baseVal;
      const rect = plot.querySelector(".brush");
      const panel = {
        left: plot.dataset.left * view.width, top: plot.dataset.top * view.height,
        width: plot.dataset.width * view.width, height: plot.dataset.height * view.height,
      };
      rect.setAttribute("x", panel.left + left * panel.width);
      rect.setAttribute("y", panel.top + (1 - top) * panel.height);
      rect.setAttribute("width", Math.max(right - left, 0) * panel.width);
      rect.setAttribute("height", Math.max(top - bottom, 0) * panel.height);
    }
  };
  let start = null;
  const share = (plot, event) => {
    const panel = panelOf(plot);
    const clip = (value) => Math.min(Math.max(value, 0), 1);
    return [clip((event.clientX - panel.left) / panel.width), clip(1 - (event.clientY - panel.top) / panel.height)];
  };
  const boxTo = (end) => [
    Math.min(start.at[0], end[0]), Math.max(start.at[0], end[0]),
    Math.min(start.at[1], end[1]), Math.max(start.at[1], end[1]),
  ];
  document.addEventListener("pointerdown", (event) => {
    const plot = event.target.closest?.(".brushable");
    if (!plot) return;
    event.preventDefault();
    start = { plot, at: share(plot, event) };
  });
  document.addEventListener("pointermove", (event) => {
    if (start) box(boxTo(share(start.plot, event)));
  });
  document.addEventListener("pointerup", (event) => {
    if (!start) return;
    const found = boxTo(share(start.plot, event));
    start = null;
    if (found[1] - found[0] > 0.005 && found[3] - found[2] > 0.005) emitEvent("brush", found);
  });

  const frames = new WeakMap();
  const framesOf = (movie) => {
    if (!frames.has(movie)) {
      frames.set(movie, { marks: JSON.parse(movie.dataset.marks), titles: JSON.parse(movie.dataset.titles) });
    }
    return frames.get(movie);
  };
  const show = (movie, place) => {
    const { marks, titles } = framesOf(movie);
    const moving = movie.querySelector(".moving");
    moving.setAttribute(moving.tagName === "IMG" ? "src" : "d", marks[place]);
    movie.querySelector(".frame").value = place;
    movie.querySelector(".frame-title").textContent = titles[place];
  };
  let timer = 0;
  const stop = () => {
    clearInterval(timer);
    timer = 0;
    document.querySelectorAll(".play").forEach((button) => (button.textContent = "Play"));
  };
  const play = (movie) => {
    if (timer) return stop();
    const last = framesOf(movie).marks.length - 1;
    let place = Number(movie.querySelector(".frame").value);
    if (place >= last) place = -1;
    movie.querySelector(".play").textContent = "Pause";
    timer = setInterval(() => {
      if (!movie.isConnected) return stop();
      place += 1;
      show(movie, place);
      if (place >= last) stop();
    }, Math.min(400, 3600 / (last + 1)));
  };
  document.addEventListener("click", (event) => {
    const movie = event.target.closest?.(".play")?.closest(".movie");
    if (movie) play(movie);
    const copy = event.target.closest?.(".copy");
    if (copy) {
      const code = copy.closest(".python").querySelector("code").textContent;
      navigator.clipboard.writeText(code).then(() => {
        copy.textContent = "Copied";
        setTimeout(() => (copy.textContent = "Copy"), 1500);
      });
    }
  });
  document.addEventListener("input", (event) => {
    const movie = event.target.closest?.(".movie");
    if (movie && event.target.matches(".frame")) {
      stop();
      show(movie, Number(event.target.value));
    }
    if (event.target.matches?.(".search")) {
      const words = event.target.value.toLowerCase();
      for (const control of document.querySelectorAll(".controls .control")) {
        control.hidden = !control.dataset.name.includes(words);
      }
    }
  });
  return { box };
})();
