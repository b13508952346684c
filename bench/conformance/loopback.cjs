// Preloaded into a Node server that can only listen on all addresses: it then listens on this machine's own.
const { Server } = require("node:net");
const listen = Server.prototype.listen;
Server.prototype.listen = function (options, ...rest) {
  const chosen = typeof options === "object" ? { ...options, host: "127.0.0.1" } : { port: options, host: "127.0.0.1" };
  return listen.call(this, chosen, ...rest.filter((one) => typeof one === "function"));
};
