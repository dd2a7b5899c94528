// Command decom decommissions medicine packs: scans come from robots over NATS
// JetStream, go to the national repository (NMVS), and come back as outcomes.
//
// One job of this package: file, environment and flags become a [Config], the
// Config becomes wiring, and the way it ended becomes an exit code. A file holds
// one sub-command; nothing here decides about packs.
//
// # Configuration
//
// Four layers, the later one wins: defaults, the YAML file, environment variables
// (DECOM_NATS_URL is nats.url, DECOM_NATS_URL_FILE names a file that holds it),
// and --set nats.url=... . All four reach every key, because all of them walk the
// same struct. loadConfig reports every problem it finds, with line and caret
// where the file is to blame.
//
// # Errors
//
// A sub-command returns an error; [exitError] gives it a code of contract.md
// section 1. execute prints it once, as one sentence, and nothing else does.
//
// # Concurrency
//
// The first SIGINT or SIGTERM cancels the command's context with a cause; a
// second one ends the process at once.
package main
