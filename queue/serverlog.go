package queue

import (
	"fmt"
	"sync/atomic"
)

// serverLog passes on what the embedded server warns of and drops its chatter.
// It replaces the server's own logger, whose Fatalf ends the process.
type serverLog struct {
	tell    func(level, text string)
	refused func(connection uint64, subject string) // of an MQTT client
	fatal   atomic.Pointer[string]
}

func (l *serverLog) Noticef(string, ...any) {}
func (l *serverLog) Debugf(string, ...any)  {}
func (l *serverLog) Tracef(string, ...any)  {}

func (l *serverLog) Warnf(format string, a ...any) { l.tell("warn", fmt.Sprintf(format, a...)) }

func (l *serverLog) Errorf(format string, a ...any) {
	l.tell("error", fmt.Sprintf(format, a...))
	if connection, subject, ok := refusedIn(format, a); ok {
		l.refused(connection, subject)
	}
}

func (l *serverLog) Fatalf(format string, a ...any) {
	text := fmt.Sprintf(format, a...)
	l.fatal.CompareAndSwap(nil, &text)
	l.tell("error", text)
}
