// Package bench measures decom as a whole: real servers, real `decom run`, the
// simulator over mutual TLS, each a process of its own. README.md beside it is the
// method. Its benchmarks run only when asked for (make bench).
package bench
