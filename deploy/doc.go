// Package deploy proves what stands in this directory: alert rules, dashboards, the
// runbook, schemas and examples. It has tests and no code; nothing imports it.
//
// The tests run what they name: promtool over the rules, the examples against a real
// nats-server. A tool that is not on the machine gives a skipped test that says so;
// CI_PROMTOOL=1 makes a missing promtool a failure.
package deploy
