package report

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container has no zones of its own, and Paris must not become UTC there
)

// Zone is where a day of a French pharmacy begins and ends.
const Zone = "Europe/Paris"

// Day is one calendar day of a zone: 23, 24 or 25 hours long.
type Day struct {
	From, To time.Time // From belongs to it, To does not
	zone     *time.Location
}

// NewDay returns the day that a text names, 2026-11-24 or one of the words today and
// yesterday, as seen at now. The error is a sentence.
func NewDay(text, zone string, now time.Time) (Day, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil || zone == "" || zone == "Local" {
		return Day{}, fmt.Errorf("%q is no time zone as Europe/Paris or Indian/Reunion", zone)
	}
	now = now.In(loc)
	switch text {
	case "", "today", "aujourd'hui":
		return dayOf(now.Year(), now.Month(), now.Day(), loc), nil
	case "yesterday", "hier":
		return dayOf(now.Year(), now.Month(), now.Day()-1, loc), nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return Day{}, fmt.Errorf("%q is no day as 2026-11-24, today or yesterday", text)
	}
	return dayOf(t.Year(), t.Month(), t.Day(), loc), nil
}

func dayOf(y int, m time.Month, d int, loc *time.Location) Day {
	return Day{From: midnight(y, m, d, loc), To: midnight(y, m, d+1, loc), zone: loc}
}

// midnight is the first moment of a date, also where clocks skip midnight itself.
func midnight(y int, m time.Month, d int, loc *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, loc)
	want := time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
	for t.Format(time.DateOnly) < want {
		t = t.Add(time.Hour)
	}
	return t
}

// Date returns it as 2026-11-24.
func (d Day) Date() string { return d.From.Format(time.DateOnly) }

// ZoneName returns the zone's name, as Europe/Paris.
func (d Day) ZoneName() string { return d.zone.String() }

// Hours returns how long it is.
func (d Day) Hours() int { return int(d.To.Sub(d.From).Round(time.Hour) / time.Hour) }

// hourOf returns the beginning of the hour of t. The hour that comes twice in autumn is two
// hours: their offsets differ.
func (d Day) hourOf(t time.Time) time.Time {
	t = t.In(d.zone)
	return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
}

// stamp prints t with its offset, so that no hour is ambiguous.
func (d Day) stamp(t time.Time) string { return t.In(d.zone).Format(time.RFC3339) }

// Window returns the first day of the two rolling months that end with d (domain.md section
// 11): the day of the same number two months before, or that month's last.
func (d Day) Window() Day {
	y, m, n := d.From.Date()
	last := time.Date(y, m-1, 0, 0, 0, 0, 0, time.UTC).Day() // of the month m-2
	return dayOf(y, m-2, min(n, last), d.zone)
}

// plus returns the day n days later.
func (d Day) plus(n int) Day {
	y, m, day := d.From.Date()
	return dayOf(y, m, day+n, d.zone)
}
