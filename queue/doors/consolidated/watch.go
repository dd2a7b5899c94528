package consolidated

import (
	"context"
	"errors"
	"slices"
	"strings"
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
}

// Watch makes a receipt of every container's label that is scanned, until ctx ends. The line
// itself rejects such a scan: it is no pack's. Scans are only read, beside the line; a label
// that was received before changes nothing, so Since may lie far back, and any number of
// processes may watch. tell learns of every label once. Whatever the queue does not do now
// is tried again until ctx ends.
func (d *Desk) Watch(ctx context.Context, from ScanReader, l Labels, tell func(Seen)) error {
	seen := map[string]bool{}
	return from.ReadScans(ctx, l.Site, l.Device, l.Since, func(s queue.StoredScan) error {
		e, err := scan.Decode(s.Body, s.Meta)
		if err != nil || e.Scan == "" {
			return nil // the line tells its sender
		}
		ref, label := ReadRef(e.Scan)
		if !label && l.Notes {
			ref = noteText(e.Scan)
		} else if !label {
			return nil
		}
		if ref == "" || seen[e.Site+"/"+ref] {
			return nil
		}
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			got, mine := Seen{}, label
			if !label {
				mine, got.Err = d.isNote(ctx, ref)
			}
			if mine {
				got = d.label(ctx, e, ref)
			}
			_, final := errors.AsType[*Problem](got.Err)
			if got.Err == nil || final {
				if mine {
					seen[e.Site+"/"+ref] = got.Err == nil // one that no file lists may be scanned again later
					tell(got)
				}
				return nil
			}
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(wait):
			}
		}
	})
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
