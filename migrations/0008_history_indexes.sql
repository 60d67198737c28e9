-- What belonged to a class, a school or a user in the past is found by it, as what belongs to it now.
create index enrollments_history_by_class  on enrollments_history (class_sourced_id, tenant);
create index enrollments_history_by_user   on enrollments_history (user_sourced_id, tenant);
create index enrollments_history_by_school on enrollments_history (school_sourced_id, tenant);
create index classes_history_by_school     on classes_history     (school_sourced_id, tenant);
create index courses_history_by_org        on courses_history     (org_sourced_id, tenant);
create index roles_history_by_org          on roles_history       (org_sourced_id, tenant);
