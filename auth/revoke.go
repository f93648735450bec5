package auth

import (
	"context"
	"database/sql"

	"penstock/internal/fault"
)

// revokedMax bounds how many media tokens may be revoked and not yet expired. Whoever
// needs more removes the key that mints them.
const revokedMax = 10_000

// RevokeMedia takes a media token of the stream back before it expires: it opens nothing
// any more, and what it holds open ends as Hold says. Who has the token and may watch
// the stream may do it; authorize that first. fault.NotFound: not a token of this
// stream that works; fault.Throttled: too many are revoked at this time.
func (a *Authority) RevokeMedia(ctx context.Context, token, streamARN string) error {
	const op = "revoke media token of"
	p, err := a.readMedia(token)
	if err != nil || p.media.arn != streamARN {
		return fault.New(fault.NotFound, op, streamARN, "it is not one that works here")
	}
	now := toMillis(a.config.Clock.Now())
	full := fault.New(fault.Throttled, op, streamARN, "too many are revoked and not yet expired").
		WithHint("remove the key that mints them: `penstock key rm`")
	return a.change(ctx, func(tx *sql.Tx) error {
		if _, err := tx.Exec(`DELETE FROM auth_revoked WHERE expires <= ?`, now); err != nil {
			return err
		}
		var n int
		if err := tx.QueryRow(`SELECT COUNT(*) FROM auth_revoked`).Scan(&n); err != nil {
			return err
		}
		if n >= revokedMax {
			return full
		}
		_, err := tx.Exec(`INSERT INTO auth_revoked (sum, expires) VALUES (?, ?) ON CONFLICT (sum) DO NOTHING`, p.media.sum, toMillis(p.Expires))
		return err
	})
}

func (a *Authority) loadRevoked(ctx context.Context, d *directory) error {
	rows, err := a.config.Meta.Read().QueryContext(ctx, `SELECT sum FROM auth_revoked`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var sum string
		if err := rows.Scan(&sum); err != nil {
			return err
		}
		d.revoked[sum] = struct{}{}
	}
	return rows.Err()
}
