// Package consolidated is the door for consolidated codes (domain.md section 8): a file
// in which a supplier lists every pack of a delivery. It reads the file, judges every row,
// holds what is left until the delivery was received, and publishes the received packs as
// ordinary scan events.
//
// # What is kept
//
// A file is a document of [queue.Shelf], named by the SHA-256 of its bytes: the same file
// again is the same document. Its rows are parts, written once; everything that happens to
// it (received, sampled, opened, dropped, published) is a note of its log. What is to be
// published is a pure function of rows and log ([File.Releases]), the time and the content
// of each event included, so that a crash half way, a second receipt or two persons at
// once make the same events with the same ids.
//
// # What leaves
//
// A pack leaves when its container or delivery was received, nothing around it was opened,
// it was not found missing, its expiry is known as printed, and the sample check that the
// sender's settings ask for has passed. Once it may leave it stays so: later notes only
// hold back what has not left.
//
// # Concurrency and errors
//
// A [Desk] may be used from any goroutine and any number of processes. Errors that a
// person can act on are *[Problem], with a sentence in both languages; all others come from
// the queue. Reading a file needs memory for its packs, not for its text: [MaxRows] and
// [MaxBytes] bound both.
package consolidated
