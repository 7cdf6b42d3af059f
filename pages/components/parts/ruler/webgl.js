// Says whether this browser can draw with WebGL.

export default function ({ setStateValue }) {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("webgl2") || canvas.getContext("webgl");
  setStateValue("there", context !== null);
  context?.getExtension("WEBGL_lose_context")?.loseContext();
}
