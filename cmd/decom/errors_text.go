package main

import "fmt"

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
