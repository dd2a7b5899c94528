// Package sim is an NMVS to test against: the server's side of
// nmvs-interface.md part 1, from TLS to the state of every pack, with the
// faults a real one has, and with a ledger that judges the client. It shares
// nothing with the client but the operation table, so that a mistake in
// reading the interface shows as a disagreement.
//
// A [Sim] serves the single, bulk, mixed and support services of one interface
// version. Settings change while it runs; scripts of faults hit the next calls
// that match; the clock can be moved forward.
//
//	s, err := sim.New(sim.Config{Accounts: ..., PKI: pki})
//	urls, stop, err := s.Start(ctx)
//	err = s.AddPack(pack)
//	err = s.Inject(sim.Rule{Ops: []string{"G120"}, Fault: sim.Fault{Kind: sim.Reset, When: sim.After}})
//	... run the client ...
//	v := s.Verdict() // v.Clean, v.Bad, v.Counts
//
// # Faults
//
// Every fault comes at three moments, which look the same to the client:
// [Before] (the call has no effect and its ClientTrxId stays unused), [After]
// (the call is carried out, all checks included, and the answer suffers) and
// [Late] (the answer suffers now, the call is carried out Delay later: a copy
// that was held up on the way). See [Fault] for the kinds.
//
// # Time
//
// Rules, bulks, limits and late copies go by the simulator's clock
// ([Config.Clock] plus [Sim.Advance]). Latency and hanging are real time. Bulks
// and late copies are carried out by the first call or question after they
// fall due, with the time at which they fell due.
//
// # Control API
//
// [Sim.ControlHandler] speaks JSON; an error is {"error": text}.
//
//	GET    /ledger?since=N   []Entry with n > N
//	GET    /counts           Counts
//	GET    /verdict          Verdict
//	GET    /packs/KEY        PackState; KEY is SCHEME|CODE|SERIAL, percent-encoded
//	GET    /settings         Settings
//	PUT    /settings         Settings; fields left out keep their value
//	POST   /faults           Rule or []Rule: a script for calls to come
//	DELETE /faults           forgets scripts that did not fire
//	POST   /stock            Stock or []Stock
//	POST   /unlock           {"client_login_id": "", "user_id": ""}
//	GET    /clock            {"now": time}
//	POST   /clock            {"advance": "24h"}
//	POST   /reset            back to Config
//
// # Order of checks
//
// TLS certificate, maintenance, fault before, XML, schema, login and lock,
// certificate's user, password age, terms, frequency, ClientTrxId, right to
// call, product, serial, batch, expiry, state, undo rules, change
// (nmvs-interface.md 1.18). A request without a readable header gets a SOAP
// fault, because a reply would have nothing to echo.
//
// # Concurrency and errors
//
// Everything may be called from any goroutine. One mutex guards the state; XML
// is read and written outside it. The same seed and the same order of calls
// give the same answers. Only [Sim.Start] starts goroutines, and its stop ends
// them. Errors are of configuration only, and list everything wrong at once.
package sim
