// Keeps the library in this browser's storage, so that a reload loses nothing; it goes to no other machine than the app's.

const KEY = "somatwin-library";

function stored() {
  try {
    return JSON.parse(localStorage.getItem(KEY))?.entries ?? {};
  } catch {
    return {}; // no storage in a private window, or one that is damaged
  }
}

export default function ({ data, setStateValue }) {
  const here = data.entries;
  const before = Object.fromEntries(
    Object.entries(stored()).filter(([key]) => !data.removed.includes(key) && !(key in here)),
  );
  try {
    localStorage.setItem(KEY, JSON.stringify({ entries: { ...before, ...here } }));
  } catch {
    return; // no storage: the library lives as long as this tab
  }
  if (Object.keys(before).length) setStateValue("before", JSON.stringify(Object.values(before)));
}
