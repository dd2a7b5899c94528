package main

import (
	"fmt"
	"strconv"
	"strings"
)

func checkRate(text string) error {
	n, per, ok := strings.Cut(text, "/")
	if f, err := strconv.ParseFloat(strings.TrimSpace(n), 64); !ok || err != nil || f <= 0 || per == "" {
		return fmt.Errorf("%q is not a limit as 5/s or 6/min", text)
	}
	return nil
}

func checkCertificate(*Account, string) error { return nil }
