package bench

import "context"

// Stage is one step of the line alone.
type Stage struct {
	Name      string  `json:"name"`
	N         int     `json:"n"`
	NS        float64 `json:"ns_per_op"`
	PerSecond float64 `json:"ops_per_second"`
	Allocs    float64 `json:"allocs_per_op"`
}

func (c *Config) stages(context.Context) ([]Stage, error) { return nil, nil }
