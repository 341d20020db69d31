module.exports = "original words";
