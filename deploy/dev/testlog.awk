# Reads `go test -v ./...` and prints one line a package; the whole log of a package
# that failed, without what went well; every skipped test by name; and
# a last line with the sums. Ends with 1 if anything failed or nothing ran.
#
# go test -v prints each package's log in one piece, closed by its verdict.
#
# With -v again=FILE it writes there one line "PACKAGE TEST" for each failed test that may
# be run again, alone, and "!" for a package that may not: what broke a promise once (the
# judge's words, a data race, a panic) or has no failed test (no build, a timeout) stays failed.

function forget() { n = 0; tests = 0 }

# Lines that only say that a test began or went well.
function quiet(s) { return s ~ /^=== (RUN|PAUSE|CONT|NAME) / || s ~ /^ *--- PASS: / || s == "PASS" || s == "FAIL" }

function dump(   i) { for (i = 1; i <= n; i++) if (!quiet(log_[i])) print log_[i] }

# Says of a failed package what may be run again.
function second(package,   i, n_, never) {
	for (i = 1; i <= n; i++) {
		if (log_[i] ~ /^--- FAIL: /) { split(log_[i], w, " "); print package, w[3] > again; n_++ }
		if (!quiet(log_[i]) && log_[i] ~ /(LOST|OUT|ONCE|TRUTH|CHAIN|LIVE): |alerts? |twice|crash table|violation|DATA RACE|^panic: |^fatal error: /) never = 1
	}
	if (!n_ || never) print "!" > again
}

/^ok  \t/ {
	print
	packages++; passed += tests; forget(); fflush(); next
}
/^\?   \t/ || /^\t.*coverage: / { forget(); next } # no test files
/^FAIL\t/ {
	dump(); print
	if (again) second($2)
	failed++; names = names "  " $2 "\n"; forget(); fflush(); next
}
/^ *--- SKIP: / {
	reason = n && log_[n] ~ /^ +[^ ]+\.go:[0-9]+: / ? log_[n] : ""; sub(/^ +/, "  ", reason)
	skips++; sub(/^ */, ""); skipped = skipped "  " $0 reason "\n"
}
/^ *--- PASS: / { tests++ }
# Downloads and compile errors stand outside any package's log; a test's own lines are indented.
/^go: / || /^# / || /^vet: / || /^[^ \t]+\.go:[0-9]+:[0-9]+: / { print; fflush(); next }
{ log_[++n] = $0 }

END {
	dump() # what came outside any package, as a build's complaint
	if (skips) printf "skipped:\n%s", skipped
	if (failed) printf "failed:\n%s", names
	printf "%s: %d packages ok, %d failed; %d tests and subtests passed, %d skipped\n", \
		(failed || !packages ? "FAIL" : "PASS"), packages, failed, passed, skips
	exit (failed || !packages ? 1 : 0)
}
