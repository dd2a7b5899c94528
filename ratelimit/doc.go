// Package ratelimit keeps one NMVS account below the sending frequency that its national system allows.
//
// One job: to say when the next calls may start. The limits are per account over the whole fleet and their real values are
// not public, so the limiter starts from a configured rate, takes this process's fixed share of it (protocol, section 9),
// and learns from the answer "allowed sending frequency exceeded": it halves the rate of the service that was told so,
// lets nothing of the account start for the cooldown, and climbs back slowly while calls succeed. Each service (a plain
// word: "single", "bulk") has a token bucket of its own; polls for results count as bulk, verifies as single.
//
// A bucket is empty when it is made and after each cooldown: a process that is restarted in a loop cannot send a burst at
// each start. What gathers while idle is small (Config.Burst).
//
// With Config.Adaptive the limits are a ceiling, and the limiter finds out by itself how much NMVS takes (hunt.go): it doubles
// until the first "too fast", searches, stays at what holds, and asks for more once a minute.
//
// # Concurrency and errors
//
// A Limiter is safe for any number of goroutines, starts none and holds no lock while it waits. Who waits in Take when the
// rate is cut goes back to the end of the new bucket's queue. Take fails only with ErrTooLate, which spends nothing, with
// ErrNoLimit, or with the context's error.
package ratelimit
