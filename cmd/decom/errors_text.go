package main

import (
	"errors"
	"fmt"
)

// Errors that a person in a pharmacy meets are said in their language, as texts are. They
// are put together where the language is known; causes from further down stay English, as
// logs do.

// errorf is fmt.Errorf in the user's language; both sentences take the same values.
func (a *app) errorf(fr, en string, args ...any) error {
	return fmt.Errorf(a.text(fr, en), args...)
}

// usagef is a complaint about the command line in the user's language.
func (a *app) usagef(fr, en string, args ...any) error {
	return exitWith(exitUsage, a.errorf(fr, en, args...))
}

// spoken is an error in both languages, for code that does not know the user's. Error gives the
// English one; execute prints the user's where the command ends with it.
type spoken struct{ fr, en error }

func (s *spoken) Error() string { return s.en.Error() }

// Unwrap keeps causes that were given with %w.
func (s *spoken) Unwrap() error { return s.en }

// spokenf is fmt.Errorf in both languages; both sentences take the same values.
func spokenf(fr, en string, args ...any) error {
	return &spoken{fr: fmt.Errorf(fr, args...), en: fmt.Errorf(en, args...)}
}

// spokenUsagef is a complaint about the command line in both languages.
func spokenUsagef(fr, en string, args ...any) error {
	return exitWith(exitUsage, spokenf(fr, en, args...))
}

// badToken is a complaint about a flag that names a site, a device or a sender.
func badToken(flag, value string) error {
	return spokenUsagef("%s %q : de 1 à 64 caractères parmi A-Z a-z 0-9 _ -", "%s %q must be 1 to 64 of A-Z a-z 0-9 _ -", flag, value)
}

// inLanguage is the error's text as the user reads it.
func (l language) inLanguage(err error) string {
	e, coded := errors.AsType[*exitError](err)
	if coded {
		err = e.err
	}
	if c, ok := err.(*configError); ok {
		return c.in(l)
	}
	if s, ok := err.(*spoken); ok && l == french { // as it is: a wrap around it has words of its own
		return s.fr.Error()
	}
	return err.Error()
}
