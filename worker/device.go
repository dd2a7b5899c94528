package worker

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"decom/worker/gs1"
	"decom/worker/scan"
)

// Device is what is known of the scanners of some devices (domain.md sections 5 and 6). The
// zero value is a device of which nothing is known.
type Device struct {
	// Site and Name are patterns of the subject's SITE and DEVICE, * for any characters.
	// Empty: any.
	Site, Name string
	// Symbology demands the symbology identifier. Without it a text that begins as an
	// element string is taken as one, and a keyboard layout can have changed it unseen.
	Symbology bool
	// Separators is how the device writes separators: empty (as they are), or one of
	// [SeparatorStyles].
	Separators string
	// Keyboard is the host layout that the device was calibrated to, one of
	// [Keyboards]; empty: none. Only texts that begin as the identifier arrives there
	// are undone. It must be true: decom device calibrate finds it out.
	Keyboard string
	// Mode says which packs of a robot become scans; empty: as its door is told. The doors
	// decide by it, before there is an event: the line does not read it.
	Mode string
}

// SeparatorStyles are the ways of writing a separator that a profile may declare.
var SeparatorStyles = [...]string{`\x1D`, "{GS}", "<GS>", "^"}

// Keyboards names the layouts that can be undone.
func Keyboards() []string { return gs1.Keyboards() }

// Validate reports what is wrong with a profile.
func (d Device) Validate() error {
	var errs []error
	for _, p := range []string{d.Site, d.Name} {
		if _, err := path.Match(p, ""); err != nil || strings.ContainsAny(p, "/.") {
			errs = append(errs, fmt.Errorf("%q is no pattern of a site or device", p))
		}
	}
	if d.Separators != "" && !slices.Contains(SeparatorStyles[:], d.Separators) {
		errs = append(errs, fmt.Errorf("%q is no way of writing a separator", d.Separators))
	}
	if _, ok := gs1.ParseKeyboard(d.Keyboard); !ok {
		errs = append(errs, fmt.Errorf("%q is no keyboard layout that can be undone", d.Keyboard))
	}
	return errors.Join(errs...)
}

// Devices are profiles; the first one that matches counts. They are read-only once in
// use and may then be used from any goroutine.
type Devices []Device

// Of returns the profile of a device.
func (ds Devices) Of(site, device string) Device {
	for _, d := range ds {
		if matchesToken(d.Site, site) && matchesToken(d.Name, device) {
			return d
		}
	}
	return Device{}
}

func matchesToken(pattern, token string) bool {
	if pattern == "" || pattern == "*" {
		return true
	}
	ok, err := path.Match(pattern, token)
	return ok && err == nil
}

// Read is [Read] with what is known of the event's device.
func (ds Devices) Read(e scan.Event, now time.Time) (Reading, *Rejection) {
	if len(ds) == 0 || e.Fields != nil || e.Conflict != "" {
		return Read(e, now)
	}
	d := ds.Of(e.Site, e.Device)
	k, _ := gs1.ParseKeyboard(d.Keyboard)
	return parse(e.Scan, gs1.Options{
		Declared: !d.Symbology, Escapes: d.Separators != "", Written: d.Separators, Keyboard: k, Now: now,
	})
}
