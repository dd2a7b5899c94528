package chaos

import (
	"os"
	"testing"

	"github.com/rs/zerolog"
)

// TestMain silences toxiproxy, which logs through a logger of its whole process.
func TestMain(m *testing.M) {
	zerolog.SetGlobalLevel(zerolog.Disabled)
	os.Exit(m.Run())
}
