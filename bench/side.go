package bench

import "context"

// Side is one worker of the side-by-side comparison.
type Side struct {
	Name      string  `json:"name"`
	Rate      float64 `json:"packs_per_second"`
	CPU       float64 `json:"cpu_seconds_per_100k"`
	Lost      int     `json:"lost"`
	SentTwice int     `json:"sent_twice"`
	Alerts    int     `json:"alerts"`
}

func (c *Config) sideBySide(context.Context) ([]Side, error) { return nil, nil }
