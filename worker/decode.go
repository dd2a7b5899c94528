package worker

import (
	"errors"
	"time"

	"decom/worker/gs1"
	"decom/worker/scan"
)

// Reading is a scan that can be trusted.
type Reading struct {
	Pack     scan.Pack
	Repaired bool   // a keyboard layout was undone by proof (domain.md section 6)
	NHRN     string // national number, where the carrier has one
}

// Rejection says why a scan cannot be trusted. Nothing was sent.
type Rejection struct {
	Reason scan.Reason
	Offset int    // byte of the text where reading ended
	Field  string // field of the event's pack object, or ""
	Layout string // keyboard family recognised, or ""
	Detail string // what is wrong with the event, for whoever programs the device; or ""
}

// detail says in a few words what the reason leaves open: the field, or the layout found.
func (r *Rejection) detail() string {
	switch {
	case r.Detail != "":
		return r.Detail
	case r.Layout != "":
		return "layout " + r.Layout
	}
	return r.Field
}

// Error makes a rejection printable; callers branch on Reason.
func (r *Rejection) Error() string { return "rejected: " + string(r.Reason) }

// Read finds the pack that an event names: from the text of the data carrier, or
// from the fields a device spelled out. It never trims, pads or changes case.
// now decides the century of the expiry and nothing else.
func Read(e scan.Event, now time.Time) (Reading, *Rejection) {
	if e.Conflict != "" {
		return Reading{}, &Rejection{Reason: scan.Conflict, Detail: e.Conflict}
	}
	if e.Fields != nil {
		return readFields(e.Fields)
	}
	// Devices are asked for the symbology identifier, but raw text without one is
	// accepted as a Data Matrix: the strict parser is what keeps mangled text out.
	return parse(e.Scan, gs1.Options{Declared: true, Now: now})
}

// ReadImport reads one line of a file that a person imports: beside what [Read]
// takes, the bracketed form "(01)..." and GS1 Digital Link URIs, which no
// scanner sends (domain.md section 5). The importer publishes the pack it got as
// fields, never the line.
func ReadImport(text string, now time.Time) (Reading, *Rejection) {
	return parse(text, gs1.Options{Declared: true, Bracketed: true, DigitalLink: true, Now: now})
}

func parse(text string, opt gs1.Options) (Reading, *Rejection) {
	res, err := gs1.Parse(text, opt)
	if err != nil {
		var ge *gs1.Error
		if errors.As(err, &ge) {
			return Reading{}, &Rejection{Reason: scan.Reason(ge.Reason.String()), Offset: ge.Offset, Layout: ge.Layout}
		}
		return Reading{}, &Rejection{Reason: scan.MalformedScan}
	}
	return newReading(res.UI, res.Repaired, res.NHRN)
}

func readFields(f *scan.Fields) (Reading, *Rejection) {
	scheme, ok := gs1.ParseScheme(f.Scheme)
	if !ok {
		return Reading{}, &Rejection{Reason: scan.MalformedScan, Field: "pack.scheme"}
	}
	ui := gs1.UI{Scheme: scheme, Code: f.Code, Serial: f.Serial, Batch: f.Batch, Expiry: f.Expiry}
	if reason, field := gs1.Check(ui); field != "" {
		return Reading{}, &Rejection{Reason: scan.Reason(reason.String()), Field: "pack." + field}
	}
	return newReading(ui, false, "")
}

func newReading(ui gs1.UI, repaired bool, nhrn string) (Reading, *Rejection) {
	p, err := scan.NewPack(scan.Scheme(ui.Scheme.String()), ui.Code, ui.Serial, ui.Batch, ui.Expiry)
	if err != nil { // gs1 is at least as strict; a difference is a bug that must not reach NMVS
		return Reading{}, &Rejection{Reason: scan.MalformedScan}
	}
	return Reading{Pack: p, Repaired: repaired, NHRN: nhrn}, nil
}
