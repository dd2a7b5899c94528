package consolidated

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// Shelf is where documents are kept: *[queue.Shelf].
type Shelf interface {
	Append(ctx context.Context, doc string, prev uint64, body []byte) (queue.Note, error)
	Notes(ctx context.Context, doc string, fn func(queue.Note) error) error
	Put(ctx context.Context, doc, part string, bodies [][]byte) error
	Part(ctx context.Context, doc, part string, fn func(body []byte) error) error
	Forget(ctx context.Context, doc, part string) error
}

// Scans is where events go: *[queue.Conn].
type Scans interface {
	PublishScans(ctx context.Context, scans []queue.Scan) ([]queue.Ack, error)
}

// Desk does what people ask of files.
type Desk struct {
	Shelf Shelf
	Scans Scans
	Check Check
	// Rules gives the present settings of a sender; false: no sender of that name is allowed.
	Rules func(sender string) (Rules, bool)
}

// Request says what a file is.
type Request struct {
	Name         string // of the file
	Site, Device string // that its events come from
	Sender       string
	Identifiers  []string // that the file's own sender must be one of; empty: not asked
	Delivery     string   // of packs that name none
	Who          string
}

// Add reads a file, judges its rows and holds them. again says that the same file was
// there: nothing was done. The list is what was read now.
func (d *Desk) Add(ctx context.Context, r io.Reader, q Request) (f *File, l *List, again bool, err error) {
	rules, allowed := d.Rules(q.Sender)
	if !allowed {
		return nil, nil, false, problem("l'expéditeur « %s » n'est pas dans la liste consolidated.senders de la configuration ; rien n'a été pris",
			"the sender %q is not in the list consolidated.senders of the configuration; nothing was taken", q.Sender)
	}
	l, id, err := Read(r, d.Check, q.Delivery)
	if err != nil {
		return nil, nil, false, err
	}
	if len(q.Identifiers) > 0 && l.Format != "csv" && !slices.ContainsFunc(q.Identifiers, func(id string) bool { return sameParty(id, l.Sender) }) {
		return nil, nil, false, problem("le fichier dit venir de « %s », qui n'est pas un identifiant de l'expéditeur %s ; rien n'a été pris",
			"the file says that it comes from %q, which is no identifier of sender %s; nothing was taken", clip(l.Sender), q.Sender)
	}
	if f, err = d.File(ctx, id); err == nil {
		return f, l, true, nil
	} else if !errors.Is(err, errNoFile) {
		return nil, nil, false, err
	}
	part := rand.Text()
	rows, boxes, digest, err := encodeParts(l)
	if err != nil {
		return nil, nil, false, err
	}
	if err := errors.Join(d.Shelf.Put(ctx, id, part, rows), d.Shelf.Put(ctx, id, part+boxesSuffix, boxes)); err != nil {
		return nil, nil, false, err
	}
	// Nothing counts before this note: rows without one are nobody's.
	_, err = d.append(ctx, id, 0, note{Kind: noteAdded, Who: q.Who, Rules: &rules, Added: &Added{
		Name: q.Name, Format: l.Format, Site: q.Site, Device: q.Device, Sender: q.Sender, Part: part,
		Chunks: len(rows), Boxes: len(boxes), Digest: digest, Rows: len(l.Rows), Refused: len(l.Refused),
		Containers: len(l.Containers), Ignored: l.Ignored, Deliveries: l.Deliveries,
	}})
	if errors.Is(err, queue.ErrLost) { // somebody added the same file meanwhile
		err = errors.Join(d.Shelf.Forget(ctx, id, part), d.Shelf.Forget(ctx, id, part+boxesSuffix))
		again = true
	}
	if err != nil {
		return nil, nil, false, err
	}
	f, err = d.File(ctx, id)
	return f, l, again, err
}

// sameParty compares an identifier of the configuration with the one of a file: the same
// text, or the same GLN, which stands alone, in a Digital Link (/417/) or, without its
// check digit, in an sgln URN.
func sameParty(want, got string) bool {
	return got != "" && (want == got || gln(want) == gln(got))
}

func gln(text string) string {
	if rest, ok := strings.CutPrefix(text, "urn:epc:id:sgln:"); ok {
		parts := strings.SplitN(rest, ".", 3)
		if n := strings.Join(parts[:min(2, len(parts))], ""); len(n) == 12 && digits(n) {
			return n + checkDigit(n)
		}
	}
	return last(text)
}

func (d *Desk) append(ctx context.Context, id string, prev uint64, n note) (queue.Note, error) {
	n.Nonce = rand.Text()
	body, err := json.Marshal(n)
	if err != nil {
		return queue.Note{}, err
	}
	return d.Shelf.Append(ctx, id, prev, body)
}

var errNoFile = problem("ce fichier n'est pas là ; « decom consolidated ls » liste les fichiers", "there is no such file; \"decom consolidated ls\" lists them")

// Files returns every file, oldest first.
func (d *Desk) Files(ctx context.Context) ([]*File, error) {
	byID := map[string]*File{}
	var all []*File
	err := d.Shelf.Notes(ctx, "", func(n queue.Note) error {
		f := byID[n.Doc]
		if f == nil {
			f = &File{}
			byID[n.Doc] = f
			all = append(all, f)
		}
		return f.take(n)
	})
	return all, err
}

// File finds a file by the beginning of its id, at least 4 characters, or by all of it.
func (d *Desk) File(ctx context.Context, id string) (*File, error) {
	if !scan.ValidToken(id) {
		return nil, errNoFile
	}
	if len(id) == 24 {
		f := &File{}
		if err := d.Shelf.Notes(ctx, id, f.take); err != nil {
			return nil, err
		}
		if len(f.Events) == 0 {
			return nil, errNoFile
		}
		return f, nil
	}
	files, err := d.Files(ctx)
	if err != nil {
		return nil, err
	}
	files = slices.DeleteFunc(files, func(f *File) bool { return len(id) < 4 || !strings.HasPrefix(f.ID, id) })
	switch len(files) {
	case 0:
		return nil, errNoFile
	case 1:
		return files[0], nil
	}
	return nil, problem("« %s » désigne %d fichiers ; donnez plus de caractères", "%q means %d files; give more characters", id, len(files))
}

// Settle reads a file's rows and says where each stands.
func (d *Desk) Settle(ctx context.Context, f *File) (*Settled, error) {
	l, err := readParts(ctx, d.Shelf, f.ID, &f.Added)
	if err != nil {
		return nil, err
	}
	return Settle(f, l), nil
}

// Find returns the files that list a container or delivery and were not dropped.
func (d *Desk) Find(ctx context.Context, ref string) ([]*File, error) {
	files, err := d.Files(ctx)
	if err != nil {
		return nil, err
	}
	var found []*File
	for _, f := range files {
		if f.Dropped() {
			continue
		}
		has := slices.Contains(f.Deliveries, ref)
		if !has && f.Boxes > 0 {
			p := partReader{sum: discard{}, words: map[string]string{}, list: &List{}}
			if err := d.Shelf.Part(ctx, f.ID, f.Part+boxesSuffix, p.take); err != nil {
				return nil, err
			}
			has = slices.ContainsFunc(p.list.Containers, func(c Container) bool { return c.ID == ref })
		}
		if has {
			found = append(found, f)
		}
	}
	return found, nil
}

// Receive says that a container or a delivery is here, and publishes what that lets go.
// already says that it had been received before: nothing new is noted then, and what a
// crash left unpublished is published.
func (d *Desk) Receive(ctx context.Context, f *File, ref, who string) (s *Settled, already bool, err error) {
	err = d.decide(ctx, &f, func(f *File) (*note, error) {
		if f.Dropped() {
			return nil, problem("le fichier %s a été écarté ; rien n'en est publié", "file %s was dropped; nothing of it is published", f.ID)
		}
		already = slices.ContainsFunc(f.Receipts(), func(e Event) bool { return e.Ref == ref })
		return d.noteIf(!already, f, note{Kind: noteReceived, Who: who, Ref: ref}), nil
	})
	if err != nil {
		return nil, false, err
	}
	s, err = d.Publish(ctx, f)
	return s, already, err
}

// noteIf is the note with the rules of now, or, when it is not wanted, one only if the
// rules have changed: a changed setting lets held packs go at the next command.
func (d *Desk) noteIf(wanted bool, f *File, n note) *note {
	if rules, ok := d.Rules(f.Sender); ok {
		n.Rules = &rules
	}
	if wanted {
		return &n
	}
	for i := len(f.Events) - 1; i >= 0; i-- {
		if r := f.Events[i].Rules; r != nil {
			if n.Rules == nil || *r == *n.Rules {
				return nil
			}
			break
		}
	}
	return &note{Kind: noteSampled, Who: n.Who, Rules: n.Rules, Sample: &Sample{}}
}

// decide appends the note that decide makes of the file as it stands; again when somebody
// else was faster. A nil note: there is nothing to say. *f is the file with the note.
func (d *Desk) decide(ctx context.Context, f **File, decide func(*File) (*note, error)) error {
	for {
		n, err := decide(*f)
		if err != nil || n == nil {
			return err
		}
		_, err = d.append(ctx, (*f).ID, (*f).Head(), *n)
		if err != nil && !errors.Is(err, queue.ErrLost) {
			return err
		}
		fresh, ferr := d.File(ctx, (*f).ID)
		if ferr != nil {
			return ferr
		}
		*f = fresh
		if err == nil {
			return nil
		}
	}
}

// Open says that a container was opened: its packs are scanned one by one.
func (d *Desk) Open(ctx context.Context, f *File, box, who, why string) error {
	s, err := d.Settle(ctx, f)
	if err != nil {
		return err
	}
	if s.boxOf(box) < 0 {
		return problem("le fichier %s ne connaît pas le contenant %s", "file %s knows no container %s", f.ID, box)
	}
	return d.decide(ctx, &f, func(*File) (*note, error) { return &note{Kind: noteOpened, Who: who, Why: why, Ref: box}, nil })
}

// Drop ends a file: nothing more of it is published. What was published stays.
func (d *Desk) Drop(ctx context.Context, f *File, who, why string) error {
	return d.decide(ctx, &f, func(f *File) (*note, error) {
		if f.Dropped() {
			return nil, problem("le fichier %s est déjà écarté", "file %s is dropped already", f.ID)
		}
		return &note{Kind: noteDropped, Who: who, Why: why}, nil
	})
}

// publishBatch is how many events are published at once: one atomic batch.
const publishBatch = 1000

// Publish publishes what was let go and is not known to be published. It may be repeated
// after any failure: ids, times and contents are those of the notes.
func (d *Desk) Publish(ctx context.Context, f *File) (*Settled, error) {
	s, err := d.Settle(ctx, f)
	if err != nil {
		return nil, err
	}
	var batch []queue.Scan
	count := 0
	flush := func() {
		if len(batch) == 0 || err != nil {
			return
		}
		_, err = d.Scans.PublishScans(ctx, batch)
		count += len(batch)
		batch = batch[:0]
	}
	s.Releases(f.upto, func(r Release) {
		batch = append(batch, d.event(f, r))
		if len(batch) == publishBatch {
			flush()
		}
	})
	flush()
	if err != nil {
		return nil, fmt.Errorf("publish the packs of %s (repeat the command, what is published does no harm): %w", f.ID, err)
	}
	if count == 0 {
		return s, nil
	}
	upto := f.Head()
	err = d.decide(ctx, &f, func(f *File) (*note, error) {
		if f.upto >= upto { // another one published the same meanwhile
			return nil, nil
		}
		return &note{Kind: notePublished, Upto: upto, Count: count}, nil
	})
	if err != nil {
		return nil, err
	}
	return d.settled(f, s), nil
}

// settled puts the newer file beside the rows that were read.
func (d *Desk) settled(f *File, s *Settled) *Settled { return Settle(f, s.List) }

// EventID is the id of a row's scan event: a function of file and row.
func EventID(file string, row int32) string { return fmt.Sprintf("cc-%s-%d", file, row) }

type packEvent struct {
	V        int         `json:"v"`
	ID       string      `json:"id"`
	Op       string      `json:"op"`
	Entry    string      `json:"entry"`
	Pack     scan.Fields `json:"pack"`
	At       string      `json:"at"`
	Ref      string      `json:"ref"`
	Operator string      `json:"operator,omitempty"`
}

// event makes the scan event of a pack. Its time is that of the receipt on the stream's
// own clock, so that no later stream time can cut it short.
func (d *Desk) event(f *File, r Release) queue.Scan {
	id := EventID(f.ID, r.Row.N)
	body, _ := json.Marshal(packEvent{ // texts always encode
		V: 1, ID: id, Op: "supply", Entry: "scanned", At: r.At.Format(time.RFC3339Nano), Ref: r.Ref, Operator: r.Who,
		Pack: scan.Fields{Scheme: r.Row.Scheme, Code: r.Row.Code, Serial: r.Row.Serial, Batch: r.Row.Batch, Expiry: r.Expiry},
	})
	return queue.Scan{Site: f.Site, Device: f.Device, ID: id, Body: body}
}
