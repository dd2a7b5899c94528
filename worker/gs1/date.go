package gs1

import "time"

var monthDays = [13]uint8{0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// ValidExpiry reports whether text is six digits YYMMDD with a real month and a day of that month, or day 00.
func ValidExpiry(text string) bool {
	return checkExpiry(text, time.Time{}) == ReasonOK
}

func checkExpiry(text string, now time.Time) Reason {
	if len(text) != 6 {
		return ReasonLength
	}
	var d [6]uint8
	for i := range d {
		d[i] = text[i] - '0'
		if d[i] > 9 {
			return ReasonCharset
		}
	}
	month, day := d[2]*10+d[3], d[4]*10+d[5]
	if month < 1 || month > 12 {
		return ReasonExpiry
	}
	if day <= monthDays[month] {
		return ReasonOK
	}
	if month == 2 && day == 29 && leap(int(d[0]*10+d[1]), now) {
		return ReasonOK
	}
	return ReasonExpiry
}

// leap asks the clock only for the one two-digit year whose answer depends on the century.
func leap(yy int, now time.Time) bool {
	if yy != 0 {
		return yy%4 == 0
	}
	return fullYear(yy, orClock(now))%400 == 0
}

// fullYear is the century rule of the GS1 General Specifications: 51 or more ahead of this year's two digits is the last
// century, 50 or more behind is the next.
func fullYear(yy int, now time.Time) int {
	year := now.Year()
	century := year - year%100
	switch diff := yy - year%100; {
	case diff >= 51:
		century -= 100
	case diff <= -50:
		century += 100
	}
	return century + yy
}

func orClock(now time.Time) time.Time {
	if now.IsZero() {
		return time.Now()
	}
	return now
}

// LastDay gives the instant, in UTC, from which on a pack with this expiry (YYMMDD) is expired: the midnight after the
// printed day, or after the month's last day when the day is 00. ok is false for a date that ValidExpiry refuses. now
// is for the century rule; zero means the machine's clock.
func LastDay(expiry string, now time.Time) (end time.Time, ok bool) {
	now = orClock(now).UTC()
	if checkExpiry(expiry, now) != ReasonOK {
		return time.Time{}, false
	}
	two := func(i int) int { return int(expiry[i]-'0')*10 + int(expiry[i+1]-'0') }
	year, month, day := fullYear(two(0), now), time.Month(two(2)), two(4)
	if day == 0 {
		return time.Date(year, month+1, 1, 0, 0, 0, 0, time.UTC), true
	}
	return time.Date(year, month, day+1, 0, 0, 0, 0, time.UTC), true
}
