"""What a page owes to readers who see little, or use no mouse: names, alternative texts, contrast."""

from __future__ import annotations

from typing import Any

# WCAG 2.2, criteria 1.1.1, 4.1.2 and 1.4.3 (level AA: 4.5, and 3 for large letters).
FAULTS = """() => {
  const found = [];
  const shown = (e) => e.getClientRects().length && getComputedStyle(e).visibility !== "hidden";
  const control = "svg[role=img], img, button, input, [role=slider], [role=switch], [role=tab], [role=combobox]";
  for (const e of document.querySelectorAll(control)) {
    if (!shown(e) || e.closest("[aria-hidden=true]")) continue;
    const name = e.getAttribute("aria-label") || e.getAttribute("alt") || e.textContent.trim()
      || e.getAttribute("aria-labelledby") || e.closest("label")?.textContent.trim()
      || e.closest("[aria-label]")?.getAttribute("aria-label");
    if (!name) found.push("no name: " + e.outerHTML.slice(0, 160));
  }
  const rgb = (words) => {
    const parts = words.match(/[\\d.]+/g).map(Number);
    return { c: parts.slice(0, 3), a: parts.length > 3 ? parts[3] : 1 };
  };
  const over = (top, below) => top.c.map((v, i) => v * top.a + below[i] * (1 - top.a));
  const ground = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgb(getComputedStyle(at).backgroundColor));
    const paper = matchMedia("(prefers-color-scheme: dark)").matches ? [20, 23, 26] : [255, 255, 255];
    return layers.reverse().reduce((below, top) => over(top, below), paper);
  };
  const light = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const words = walk.currentNode.textContent.trim(), e = walk.currentNode.parentElement;
    if (!words || !e || !shown(e) || e.closest("script, style, [aria-hidden=true]")) continue;
    const style = getComputedStyle(e), svg = e.closest("svg");
    if (e.getBoundingClientRect().right < 0) continue;
    const back = ground(svg || e), ink = over(rgb(svg ? style.fill : style.color), back);
    const [one, other] = [light(ink), light(back)];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = parseFloat(style.fontSize), large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) found.push(`contrast ${ratio.toFixed(2)}: ${words.slice(0, 40)}`);
  }
  return [...new Set(found)];
}"""


def faults(page: Any) -> list[str]:
    """What is wrong with a page as it stands, in light and in dark."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(300)
        found += [f"{scheme}: {fault}" for fault in page.evaluate(FAULTS)]
    page.emulate_media(color_scheme="light")
    return found
