module.exports = "a widget for React 18";
