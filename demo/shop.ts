// Owns the demo's shop: its tables, its first rows, and a workload that changes them as a shop does.
import type { Client } from 'pg';

const SETUP = `
  create table customers (
    id int primary key, name text not null, email text, city text,
    since timestamptz not null default now());
  create table products (
    id int primary key, title text not null, price numeric(10,2) not null, stock int not null);
  create table orders (
    id bigint generated always as identity primary key, customer_id int not null references customers,
    product_id int not null references products, quantity int not null,
    status text not null, placed_at timestamptz not null default now());
  insert into customers select n, 'Customer ' || n, 'c' || n || '@example.com', 
      (array['Oslo','Turin','Lyon','Ghent'])[1 + n % 4] from generate_series(1, 500) n;
  insert into products select n, 'Product ' || n, (n * 7 % 90 + 10)::numeric(10,2), 100
    from generate_series(1, 50) n;
`;

/** The customer whose life the demo tells at the end. */
export const HERO = 42;

export const setUpShop = async (client: Client): Promise<void> => {
  await client.query(SETUP);
};

/** One small transaction; `step` chooses what happens, so that a run is told the same way each time. */
export const trade = async (client: Client, step: number): Promise<void> => {
  const customer = 1 + ((step * 37) % 500);
  const product = 1 + ((step * 13) % 50);
  await client.query('begin');
  await client.query(
    "insert into orders (customer_id, product_id, quantity, status) values ($1, $2, $3, 'placed')",
    [customer, product, 1 + (step % 3)],
  );
  await client.query(
    'update products set stock = case when stock < 5 then 100 else stock - 1 end where id = $1',
    [product],
  );
  await client.query('commit');
  if (step % 3 === 0)
    await client.query("update orders set status = 'shipped' where id = (select max(id) - 2 from orders)");
  if (step % 20 === 0)
    await client.query('update products set price = round(price * 1.05, 2) where id = $1', [product]);
  if (step % 50 === 0)
    await client.query(
      "delete from orders where status = 'placed' and id < (select max(id) - 40 from orders)",
    );
};

/** What happens to the hero, one after the other. */
export const HERO_LIFE: readonly string[] = [
  `update customers set city = 'Bergen' where id = ${HERO}`,
  `update customers set email = 'new@example.com' where id = ${HERO}`,
  `update customers set name = 'Customer 42 (married)', city = 'Rome' where id = ${HERO}`,
];
