package wwks2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"decom/queue"
)

// spool keeps what was heard until the stream has it: a file of JSON lines, synced before
// put returns. A crash leaves at most lines that the stream has already; they are sent
// again, under the same ids.
type spool struct {
	wake chan struct{} // 1: somebody put

	mu   sync.Mutex
	f    *os.File     // guarded by mu; Sync may be called without it
	left []queue.Scan // guarded by mu
	docs []spoolDoc   // guarded by mu; heard in line, not read yet
}

// spoolDoc is a document as it came, and the robot's address then: ids come from it.
type spoolDoc struct {
	Doc  []byte `json:",omitempty"`
	From string `json:",omitempty"`
}

// spoolLine is one line of the file: a scan, or a document.
type spoolLine struct {
	queue.Scan
	spoolDoc
}

func openSpool(name string) (*spool, error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	s := &spool{wake: make(chan struct{}, 1), f: f}
	if err := s.load(name); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.ring()
	return s, nil
}

// load reads what an earlier process left.
func (s *spool) load(name string) error {
	if err := syscall.Flock(int(s.f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fmt.Errorf("%s: another process uses it: %w", name, err)
	}
	data, err := io.ReadAll(s.f)
	if err != nil {
		return err
	}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 2*maxDocument) // a document in base64
	for sc.Scan() {
		var one spoolLine
		switch err := json.Unmarshal(sc.Bytes(), &one); { // else half a line of a crash: it was never said to be kept
		case err == nil && len(one.Doc) > 0:
			s.docs = append(s.docs, one.spoolDoc)
		case err == nil && one.Site != "":
			s.left = append(s.left, one.Scan)
		}
	}
	if n := len(data); n > 0 && data[n-1] != '\n' {
		_, err = s.f.WriteString("\n")
	}
	return err
}

func (s *spool) ring() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// put keeps scans durably.
func (s *spool) put(scans []queue.Scan) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, one := range scans {
		if err := enc.Encode(one); err != nil {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := s.f.Write(b.Bytes()); err != nil {
		return err
	}
	if err := s.f.Sync(); err != nil {
		return err
	}
	s.left = append(s.left, scans...)
	s.ring()
	return nil
}

// keep writes a document as it came, without a sync: what is written survives the end of
// the process, and what [spool.sync] has seen the machine's. The document waits to be read
// even when it cannot be written; the error says so.
func (s *spool) keep(doc spoolDoc) error {
	text, err := json.Marshal(doc)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		_, err = s.f.Write(append(text, '\n'))
	}
	s.docs = append(s.docs, doc)
	s.ring()
	return err
}

func (s *spool) sync() error { return s.f.Sync() }

// expand makes scans of documents that were heard, until enough scans wait to be sent: a
// robot that never ends speaking must not keep what it said before from the stream. The
// documents leave the file with the scans.
func (s *spool) expand(enough int, read func(spoolDoc) []queue.Scan) error {
	for {
		s.mu.Lock()
		if len(s.docs) == 0 || len(s.left) >= enough {
			s.mu.Unlock()
			return nil
		}
		doc := s.docs[0]
		s.mu.Unlock()
		scans := read(doc)
		s.mu.Lock()
		s.docs = s.docs[1:]
		s.left = append(s.left, scans...)
		err := s.emptied()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// next returns what waits, at most n.
func (s *spool) next(n int) []queue.Scan {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]queue.Scan(nil), s.left[:min(n, len(s.left))]...)
}

// sent lets the first n go. The file is emptied when nothing is left in it.
func (s *spool) sent(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = s.left[n:]
	return s.emptied()
}

// empty says whether nothing waits.
func (s *spool) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.left)+len(s.docs) == 0
}

// emptied empties the file when nothing in it waits any more; mu is held.
func (s *spool) emptied() error {
	if len(s.left)+len(s.docs) > 0 {
		return nil
	}
	s.left, s.docs = nil, nil
	return s.f.Truncate(0)
}

func (s *spool) close() { _ = s.f.Close() } // every put is synced

// batch is how many scans are out at once.
const batch = 256

// answerTime bounds the wait for the stream's acknowledgements; then they are sent again.
const answerTime = 10 * time.Second

// pump sends what waits, in order, until ctx ends.
func (l *Listener) pump(ctx context.Context) {
	trouble := false
	for {
		if err := l.spool.expand(batch, l.readDoc); err != nil {
			l.log.Error("WWKS 2: the spool cannot be emptied", "err", err)
		}
		scans := l.spool.next(batch)
		if len(scans) == 0 {
			select {
			case <-l.spool.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		out, cancel := context.WithTimeout(ctx, answerTime)
		acks, err := l.deps.Publish(out, scans)
		cancel()
		n := 0
		for n < len(acks) && acks[n].Seq > 0 {
			n++
		}
		if n > 0 {
			if serr := l.spool.sent(n); serr != nil {
				l.log.Error("WWKS 2: the spool cannot be emptied", "err", serr)
			}
			l.deps.Count(l.cfg.Site, n, 0)
		}
		if n == len(scans) {
			trouble = false
			continue
		}
		if !trouble && ctx.Err() == nil {
			l.log.Warn("WWKS 2: scans wait in the spool, the queue does not take them", "waiting", len(scans)-n, "err", err)
		}
		trouble = true
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}
