package wwks2

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"decom/queue"
)

// Trouble is what can go wrong beside a robot in line whose bytes went on all the same; a
// closed set, for metrics.
type Trouble string

// The troubles of a door in line.
const (
	Late       Trouble = "late"       // a document went on before it was on disk
	NotKept    Trouble = "not_kept"   // the disk took it not; it is in memory until the stream has it
	Lost       Trouble = "lost"       // neither disk nor memory took it
	CutOff     Trouble = "cut_off"    // a document was too long, or without its end
	Unreadable Trouble = "unreadable" // a document with packs that is not WWKS 2; it is put aside
	Broken     Trouble = "broken"     // our own reader failed
	NoRobot    Trouble = "no_robot"   // the robot cannot be reached
)

// Troubles lists them.
func Troubles() []Trouble { return []Trouble{Late, NotKept, Lost, CutOff, Unreadable, Broken, NoRobot} }

const (
	// patience is the longest that a robot's bytes wait for their copy to be written. A
	// write into the system's cache takes some 10 µs; a disk that hangs costs this once.
	patience = 20 * time.Millisecond
	// maxUnkept bounds the memory for what the disk has not taken yet.
	maxUnkept = 64 << 20
	// maxAside bounds the file of unreadable documents.
	maxAside = 16 << 20
)

// tap takes what is heard in line to the spool, beside the way of the bytes. heard is
// called by the sessions, run owns the writing.
type tap struct {
	l    *Listener
	wake chan struct{} // 1: something was heard
	late atomic.Bool   // the disk is behind: nobody waits for it

	mu    sync.Mutex
	docs  []heardDoc          // guarded by mu
	bytes int                 // of docs; guarded by mu
	said  map[Trouble]saidLog // guarded by mu
}

// saidLog is when a trouble was last logged, and how often it came since.
type saidLog struct {
	at    time.Time
	since int
}

type heardDoc struct {
	doc  []byte
	kept chan struct{} // closed when the disk has it, or has refused it
}

func newTap(l *Listener) *tap {
	return &tap{l: l, wake: make(chan struct{}, 1), said: map[Trouble]saidLog{}}
}

// troubleQuiet is how long a trouble that goes on is not logged again: a slow disk is one for
// every document. Each one counts in the metric, and the next line says how many there were.
const troubleQuiet = time.Minute

// trouble tells what went wrong. No one waits for it: mu is not held.
func (t *tap) trouble(what Trouble, text string, args ...any) {
	t.l.deps.Trouble(t.l.cfg.Site, what)
	t.mu.Lock()
	s := t.said[what]
	if quiet := !s.at.IsZero() && time.Since(s.at) < troubleQuiet; quiet {
		s.since++
		t.said[what] = s
		t.mu.Unlock()
		return
	}
	t.said[what] = saidLog{at: time.Now()}
	t.mu.Unlock()
	if s.since > 0 {
		args = append(args, "not_logged_since", s.since)
	}
	t.l.log.Error("WWKS 2: "+text, append(args, "trouble", what)...)
}

// heard takes a document and returns when it is written, or after patience.
func (t *tap) heard(doc []byte) {
	h := heardDoc{doc, make(chan struct{})}
	t.mu.Lock()
	full := t.bytes+len(doc) > maxUnkept
	if !full {
		t.docs = append(t.docs, h)
		t.bytes += len(doc)
	}
	t.mu.Unlock()
	if full {
		t.trouble(Lost, "a document went on to the stock system and is lost here, the disk has hung for too long: reconcile by stock", "bytes", len(doc))
		return
	}
	select {
	case t.wake <- struct{}{}:
	default:
	}
	if t.late.Load() {
		return
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-h.kept:
	case <-timer.C:
		t.late.Store(true)
		t.trouble(Late, "the disk is slow: documents go on before they are kept")
	}
}

func (t *tap) next() (heardDoc, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.docs) == 0 {
		t.late.Store(false)
		return heardDoc{}, false
	}
	h := t.docs[0]
	t.docs = t.docs[1:]
	t.bytes -= len(h.doc)
	return h, true
}

// run writes what is heard until ctx ends and nothing is left. Syncs go beside it: a
// robot does not wait for one.
func (t *tap) run(ctx context.Context) {
	written := make(chan struct{}, 1)
	var syncs sync.WaitGroup
	defer syncs.Wait()
	defer close(written)
	syncs.Go(func() {
		for range written {
			if err := t.l.spool.sync(); err != nil {
				t.trouble(NotKept, "the disk does not sync what was heard", "err", err)
			}
		}
	})
	for {
		h, any := t.next()
		if !any {
			select {
			case <-t.wake:
				continue
			case <-ctx.Done():
				return
			}
		}
		err := t.l.spool.keep(spoolDoc{h.doc, t.l.cfg.address()})
		close(h.kept)
		if err != nil {
			t.trouble(NotKept, "the disk takes nothing: what was heard is in memory until the queue has it", "err", err)
		}
		select {
		case written <- struct{}{}:
		default:
		}
	}
}

// readDoc makes scans of a document that was heard in line. One that cannot be read is put
// aside: it has gone on to the stock system, and may tell of packs.
func (l *Listener) readDoc(d spoolDoc) (scans []queue.Scan) {
	doc := d.Doc
	defer func() {
		if p := recover(); p != nil {
			scans = nil
			l.putAside(doc, Broken, fmt.Errorf("panic: %v", p))
		}
	}()
	e, err := parse(doc)
	if err != nil {
		l.putAside(doc, Unreadable, err)
		return nil
	}
	return l.scans(d.From, e)
}

// Aside is the file of documents in line that tell of packs and could not be read: JSON
// lines, for a person to look at and take away.
func (c Config) Aside() string { return c.Spool + ".unread" }

func (l *Listener) putAside(doc []byte, what Trouble, why error) {
	l.deps.Trouble(l.cfg.Site, what)
	l.log.Error("WWKS 2: a document that tells of packs cannot be read, it is put aside: no scan is made of it", "trouble", what, "file", l.cfg.Aside(), "bytes", len(doc), "err", why)
	text, err := json.Marshal(struct{ At, Why, Doc string }{time.Now().UTC().Format(time.RFC3339), why.Error(), string(doc)})
	if err == nil {
		err = appendBounded(l.cfg.Aside(), append(text, '\n'))
	}
	if err != nil {
		l.log.Error("WWKS 2: it cannot be put aside either", "err", err)
	}
}

func appendBounded(name string, text []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil && st.Size()+int64(len(text)) > maxAside {
		return fmt.Errorf("%s is full: look at it, then take it away", name)
	}
	if _, err = f.Write(text); err != nil {
		return err
	}
	return f.Sync()
}

// tellsOfPacks says whether a document is worth keeping; all others (stock, KeepAlive,
// Hello) are the stock system's business. It costs no reading of XML.
func tellsOfPacks(doc []byte) bool {
	return bytes.Contains(doc, []byte("InputMessage")) || bytes.Contains(doc, []byte("OutputMessage"))
}
