package consolidated

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// ScanReader is where scans are followed: *[queue.Conn].
type ScanReader interface {
	ReadScans(ctx context.Context, site, device string, since time.Time, fn func(queue.StoredScan) error) error
}

// Labels chooses what is taken for a receipt.
type Labels struct {
	Site, Device string    // empty: any
	Since        time.Time // when it was scanned, at the earliest
	// Notes takes a scan whose whole text is the delivery note of a held file, too.
	Notes bool
}

// Seen is what came of a container's label, or a delivery note, that a device scanned.
type Seen struct {
	Site, Device, Ref string
	File              *File // the file that lists it, if it is one
	Count             int   // packs published of it, all receipts together
	Err               error // a *Problem when it was not taken for a receipt
	// Behind, with no Ref, says that so many labels of the device wait: those behind them are
	// read from the queue again when their turn comes.
	Behind int
}

// Watch makes a receipt of every container's label that is scanned, until ctx ends. The line
// itself rejects such a scan: it is no pack's. Scans are only read, beside the line; a label
// that was received before changes nothing, so Since may lie far back, and any number of
// processes may watch. tell learns of every label once, one call after another. The labels of
// one device are taken in order, beside those of the others: what a device scans without an
// end, or a delivery that takes long, holds up no other dock. At most [maxWaiting] of a device
// wait in memory, the others where they are. Whatever the queue does not do now is tried again
// until ctx ends.
func (d *Desk) Watch(ctx context.Context, from ScanReader, l Labels, tell func(Seen)) error {
	return newWatch(d, from, l.Notes, tell).run(ctx, l)
}

// watch is one Watch: a device that has labels waiting has one goroutine.
type watch struct {
	desk  *Desk
	from  ScanReader
	notes bool
	all   sync.WaitGroup // the devices' goroutines

	mu      sync.Mutex                    // not held while the queue is asked
	waiting map[string][]queue.StoredScan // by device, the one in hand first; guarded by mu
	behind  map[string]queue.StoredScan   // by device that has too many: the first one that is not in waiting; guarded by mu
	seen    map[string]bool               // received, by site and label; guarded by mu
	tell    func(Seen)                    // called with mu held
}

// maxWaiting is how many labels of one device wait in memory: a pull of the queue brings as many.
const maxWaiting = 256

func newWatch(d *Desk, from ScanReader, notes bool, tell func(Seen)) *watch {
	return &watch{desk: d, from: from, notes: notes, tell: tell, seen: map[string]bool{},
		waiting: map[string][]queue.StoredScan{}, behind: map[string]queue.StoredScan{}}
}

func (w *watch) run(ctx context.Context, l Labels) error {
	own, end := context.WithCancel(ctx)
	defer w.all.Wait()
	defer end()
	return w.from.ReadScans(ctx, l.Site, l.Device, l.Since, func(s queue.StoredScan) error {
		w.take(own, s)
		return nil
	})
}

// take puts a scan that may be a label behind its device's others. One too many stays in the
// queue, and all that the device scans after it: serve reads them there.
func (w *watch) take(ctx context.Context, s queue.StoredScan) {
	ref, _, e := w.ref(s)
	w.mu.Lock()
	defer w.mu.Unlock()
	if ref == "" || w.seen[e.Site+"/"+ref] {
		return
	}
	device := e.Source()
	if _, apart := w.behind[device]; apart {
		return
	}
	if len(w.waiting[device]) == maxWaiting {
		w.behind[device] = s
		w.tell(Seen{Site: e.Site, Device: e.Device, Behind: maxWaiting})
		return
	}
	w.waiting[device] = append(w.waiting[device], s)
	if len(w.waiting[device]) == 1 {
		w.all.Go(func() { w.serve(ctx, device) })
	}
}

// ref is what a scan says if it may be a receipt, else "": the line tells its sender.
func (w *watch) ref(s queue.StoredScan) (ref string, label bool, e scan.Event) {
	e, err := scan.Decode(s.Body, s.Meta)
	if err != nil || e.Scan == "" {
		return "", false, e
	}
	if ref, label = ReadRef(e.Scan); !label {
		ref = ""
		if w.notes {
			ref = noteText(e.Scan)
		}
	}
	return ref, label, e
}

// serve takes what a device has scanned, until nothing of it waits; if more came than is kept,
// it goes on with what the queue has, until ctx ends.
func (w *watch) serve(ctx context.Context, device string) {
	for {
		w.mu.Lock()
		s := w.waiting[device][0]
		w.mu.Unlock()
		w.one(ctx, s)
		w.mu.Lock()
		left := w.waiting[device][1:]
		w.waiting[device] = left
		first, apart := w.behind[device]
		if len(left) == 0 {
			delete(w.waiting, device)
		}
		w.mu.Unlock()
		if len(left) == 0 && apart {
			w.follow(ctx, first)
		}
		if len(left) == 0 || ctx.Err() != nil {
			return
		}
	}
}

// follow takes what a device scanned from first on, one after another: the queue gives the
// next ones when there is time for them.
func (w *watch) follow(ctx context.Context, first queue.StoredScan) {
	next := first.Seq
	for ctx.Err() == nil {
		_ = w.from.ReadScans(ctx, first.Site, first.Device, first.Stored, func(s queue.StoredScan) error { // until ctx ends: whatever fails is tried again
			if s.Seq < next {
				return nil
			}
			if ref, _, _ := w.ref(s); ref != "" {
				w.one(ctx, s)
			}
			next = s.Seq + 1
			return ctx.Err()
		})
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// one receives what one scan names, however often the queue has to be asked.
func (w *watch) one(ctx context.Context, s queue.StoredScan) {
	ref, label, e := w.ref(s)
	key := e.Site + "/" + ref
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		w.mu.Lock()
		known := w.seen[key]
		w.mu.Unlock()
		if known {
			return
		}
		got, mine := Seen{}, label
		if !label {
			mine, got.Err = w.desk.isNote(ctx, ref)
		}
		if mine {
			got = w.desk.label(ctx, e, ref)
		}
		if _, final := errors.AsType[*Problem](got.Err); got.Err == nil || final {
			if mine {
				w.told(key, got)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// told remembers what was received and says so, unless another device's scan of it was faster.
func (w *watch) told(key string, got Seen) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seen[key] {
		return
	}
	if got.Err == nil { // one that no file lists may be scanned again later
		w.seen[key] = true
	}
	w.tell(got)
}

// maxNote bounds the text of a delivery note in bytes, as EDIFACT and GS1 do.
const maxNote = 35

// noteText is a scan's text without its symbology identifier if it may be a delivery note,
// else "": a pack's is longer, and has separators.
func noteText(text string) string {
	if len(text) > 3 && text[0] == ']' {
		text = text[3:]
	}
	text = strings.TrimSpace(text)
	if len(text) > maxNote || strings.ContainsAny(text, "\x1d\x1e\x04") {
		return ""
	}
	return text
}

// isNote says whether a held file has the delivery note.
func (d *Desk) isNote(ctx context.Context, ref string) (bool, error) {
	files, err := d.Files(ctx)
	return slices.ContainsFunc(files, func(f *File) bool { return !f.Dropped() && slices.Contains(f.Deliveries, ref) }), err
}

// label receives one container.
func (d *Desk) label(ctx context.Context, e scan.Event, ref string) Seen {
	got := Seen{Site: e.Site, Device: e.Device, Ref: ref}
	files, err := d.Find(ctx, ref)
	switch {
	case err != nil:
		got.Err = err
	case len(files) == 0:
		got.Err = problem("aucun fichier ne liste %s ; demandez-le à l'expéditeur, ou scannez les boîtes une à une",
			"no file lists %s; ask the sender for it, or scan the packs one by one", ref)
	case len(files) > 1:
		got.Err = problem("%s figure dans plusieurs fichiers ; choisissez avec « decom consolidated receive --file », et écartez les autres",
			"%s stands in several files; choose with \"decom consolidated receive --file\", and drop the others", ref)
	case files[0].Site != e.Site:
		got.File = files[0]
		got.Err = problem("%s est attendu sur le site %s et a été scanné sur %s", "%s is expected at site %s and was scanned at %s", ref, files[0].Site, e.Site)
	default:
		who := e.Operator
		if who == "" {
			who = e.Source()
		}
		s, _, err := d.Receive(ctx, files[0], ref, who)
		got.File, got.Err = files[0], err
		if err == nil {
			got.File, got.Count = s.File, s.Count()[Released]
		}
	}
	return got
}
