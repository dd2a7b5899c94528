package wwks2

import "bytes"

// maxDocument bounds one document; a robot's stock list is the longest.
const maxDocument = 1 << 20

var (
	opening = []byte("<WWKS")
	closing = []byte("</WWKS>")
)

// framer cuts a stream of bytes into documents.
type framer struct {
	buf     []byte
	scanned int // bytes of buf without an end tag
	skipped int // documents that were too long, or cut off
}

// add takes what was read and returns the documents that are whole now. They are valid
// until the next call.
func (f *framer) add(b []byte) (docs [][]byte) {
	f.buf = append(f.buf, b...)
	done := 0
	for {
		from := max(done, f.scanned-len(closing))
		i := bytes.Index(f.buf[from:], closing)
		if i < 0 {
			break
		}
		end := from + i + len(closing)
		if doc := bytes.Clone(f.buf[done:end]); len(doc) <= maxDocument {
			docs = append(docs, f.whole(doc))
		} else {
			f.skipped++
		}
		done = end
		f.scanned = done
	}
	f.buf = append(f.buf[:0], f.buf[done:]...)
	f.scanned = len(f.buf)
	if len(f.buf) > maxDocument { // keep enough to find the end tag
		f.skipped++
		f.buf = append(f.buf[:0], f.buf[len(f.buf)-len(closing):]...)
		f.scanned = 0
	}
	return docs
}

// whole leaves out what stands before the document: the rest of one that was cut off, an
// XML declaration, line ends.
func (f *framer) whole(doc []byte) []byte {
	i := bytes.LastIndex(doc, opening)
	if i < 0 {
		f.skipped++
		return nil
	}
	if bytes.Contains(doc[:i], opening) {
		f.skipped++
	}
	return doc[i:]
}

// rest says how much of a document has come without its end.
func (f *framer) rest() int { return len(bytes.TrimSpace(f.buf)) }
