//! Making some records' rows anew, after their events were erased.

use sqlx::PgConnection;

use super::Projections;
use crate::log::Tenant;
use crate::roster::EntityType;

impl Projections {
    /// Removes all versions of these records' rows, and makes them anew from the events at `positions`: all those of
    /// the records, and of the records that show in them. `head`: the tenant's last position.
    pub async fn replay(
        &self,
        conn: &mut PgConnection,
        tenant: &Tenant,
        records: &[(EntityType, String)],
        positions: &[i64],
        head: i64,
    ) -> Result<(), sqlx::Error> {
        for projection in &self.all {
            let Some(kind) = EntityType::ALL.into_iter().find(|kind| kind.entity().table == projection.name) else {
                continue; // lineage: it knows no people
            };
            let ids: Vec<&str> = records.iter().filter(|(of, _)| *of == kind).map(|(_, id)| id.as_str()).collect();
            if ids.is_empty() {
                continue;
            }
            for table in projection.tables() {
                sqlx::query(&format!("delete from {table} where tenant = $1 and sourced_id = any($2)"))
                    .bind(tenant.as_str())
                    .bind(&ids)
                    .execute(&mut *conn)
                    .await?;
            }
            sqlx::query(&projection.replay)
                .bind(tenant.as_str())
                .bind(positions)
                .bind(head)
                .execute(&mut *conn)
                .await?;
        }
        Ok(())
    }
}
