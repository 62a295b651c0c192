package redsession

import (
	"context"
	"time"
)

// Legacy is another package's sessions, to be taken over live.
type Legacy struct {
	Cookie     string
	Verify     func(value string) (legacyID string, err error)
	Load       func(ctx context.Context, legacyID string) (*LegacyRecord, error)
	SideBySide bool
}

// LegacyRecord is one session of another package.
type LegacyRecord struct {
	ID, UserID           string
	Values               map[string]any
	CreatedAt, ExpiresAt time.Time
}
