package consolidated

import (
	"context"
	"errors"
	"time"

	"decom/queue"
	"decom/worker/scan"
)

// ScanReader is where scans are followed: *[queue.Conn].
type ScanReader interface {
	ReadScans(ctx context.Context, site, device string, since time.Time, fn func(queue.StoredScan) error) error
}

// Seen is what came of a container's label that a device scanned.
type Seen struct {
	Site, Device, Ref string
	File              *File // the file that lists it, if it is one
	Count             int   // packs published of it, all receipts together
	Err               error // a *Problem when it was not taken for a receipt
}

// Watch makes a receipt of every container's label that is scanned at these devices from
// since on, until ctx ends. The line itself rejects such a scan: it is no pack's. Scans are
// only read, beside the line; a label that was received before changes nothing, so since
// may lie far back, and any number of processes may watch. tell learns of every label
// once. Whatever the queue does not do now is tried again until ctx ends.
func (d *Desk) Watch(ctx context.Context, from ScanReader, site, device string, since time.Time, tell func(Seen)) error {
	seen := map[string]bool{}
	return from.ReadScans(ctx, site, device, since, func(s queue.StoredScan) error {
		e, err := scan.Decode(s.Body, s.Meta)
		if err != nil || e.Scan == "" {
			return nil // the line tells its sender
		}
		ref, label := ReadRef(e.Scan)
		if !label || seen[e.Site+"/"+ref] {
			return nil
		}
		for wait := time.Second; ; wait = min(2*wait, time.Minute) {
			got := d.label(ctx, e, ref)
			_, final := errors.AsType[*Problem](got.Err)
			if got.Err == nil || final {
				seen[e.Site+"/"+ref] = got.Err == nil // one that no file lists may be scanned again later
				tell(got)
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
