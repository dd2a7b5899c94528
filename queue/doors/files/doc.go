// Package files reads scans from files, and watches folders into which others put them.
//
// [NewLines] and [NewCSV] read what decom publish reads: raw barcode lines, JSON lines and
// tables. [Defaults.Complete] makes events of their entries. [Watcher] does the rest for a
// folder: it waits until a file is whole, stores its scans, writes a report row by row and
// moves the file to done/.
//
// # Nothing lost, nothing twice
//
// A line has no id and no time of its own, so both come from the file: its time when it
// was seen first. The watcher writes that down, with the SHA-256 of the file, before the
// first scan is published; a crash at any later moment begins the file again, and all of
// its lines have the ids of before. The stream may store them again; the worker knows
// them. A file whose hash is noted as done is moved away and reported, whatever its name
// and time are now, and nothing of it is sent.
//
// While the queue does not answer, files stay where they are.
//
// # Concurrency
//
// Readers belong to one goroutine. Watcher.Run works on one file after another. Several
// processes may watch one folder: they give the same lines the same ids.
package files
